//! A cancelled task, or one over its time, is dropped in the worker; the others there go on.

use std::time::Duration;

use futures::future::join_all;
use procession::task::is_cancelled;

use super::{parked_async, ready, several, waiting};
use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::notes::{Board, Notes};
use crate::pools::{all_idle, pids};
use crate::tasks::{busy, spin};
use crate::{LONG, SHORT};

/// Writes a note when it is dropped.
struct NoteOnDrop(Notes, usize);

impl Drop for NoteOnDrop {
    fn drop(&mut self) {
        self.0.write("dropped", self.1);
    }
}

async fn guarded(notes: Notes, n: usize) {
    let guard = NoteOnDrop(notes.clone(), n);
    notes.write("begun", n);
    std::future::pending::<()>().await;
    drop(guard);
}

#[procession::test]
async fn cancelled_task_is_dropped_and_its_worker_stays() {
    let pool = ready(1, 4).await;
    let before = pids(&pool);
    let board = Board::new();
    let waits = pool.spawn(waiting, (board.notes(), 0));
    let aborted = pool.spawn(guarded, (board.notes(), 1));
    let mut dropped = Box::pin(pool.run(guarded, (board.notes(), 2)));
    assert!(futures::poll!(&mut dropped).is_pending());
    board.lines("begun", 3).await;

    aborted.abort();
    let error = within(aborted).await.unwrap_err();
    assert!(error.is_cancelled() && error.started(), "{error:?}");
    drop(dropped);
    let timed = pool.run(guarded, (board.notes(), 3)).timeout(SHORT);
    let error = within(timed).await.unwrap_err();
    assert!(error.is_timed_out() && error.started(), "{error:?}");
    let mut notes = board.lines("dropped", 3).await;
    notes.sort();
    assert_eq!(notes, ["1", "2", "3"]);

    board.write("go-0", 1);
    assert_eq!(within(waits).await.unwrap(), 0);
    // The lanes take tasks again, which are not cancelled.
    let all = join_all((0..8).map(|_| pool.run(async || is_cancelled(), ())));
    assert!(within(all).await.into_iter().all(|it| !it.unwrap()));
    assert_eq!(pids(&pool), before);
    let metrics = pool.metrics();
    assert_eq!(
        (metrics.cancelled(), metrics.timed_out(), metrics.crashed()),
        (2, 1, 0)
    );
}

#[procession::test]
async fn task_that_does_not_yield_is_killed_with_those_beside_it() {
    alone(
        "tasks_per_worker::cancel::task_that_does_not_yield_is_killed_with_those_beside_it",
        async {
            let pool = several(1, 3).cancel_grace(SHORT).build().unwrap();
            let board = Board::new();
            let beside = pool.spawn(parked_async, (board.notes(), 0));
            board.lines("begun", 1).await;
            let error = within(pool.run(spin, ()).timeout(SHORT)).await.unwrap_err();
            assert!(error.is_timed_out(), "{error:?}");
            let error = within(beside).await.unwrap_err();
            assert!(error.is_crashed() && error.started(), "{error:?}");
            assert!(error.to_string().contains("another task"), "{error}");
            assert_eq!(within(pool.run(async || 1_u8, ())).await.unwrap(), 1);
            let metrics = pool.metrics();
            assert_eq!((metrics.timed_out(), metrics.crashed()), (1, 1));
            all_idle(&pool, 1).await;
            within(pool.shutdown()).await;
        },
    )
    .await;
}

#[procession::test]
async fn each_task_has_a_time_limit_of_its_own() {
    let pool = several(1, 4).cancel_grace(LONG).build().unwrap();
    let board = Board::new();
    let before = pool.spawn(waiting, (board.notes(), 0));
    board.lines("begun", 1).await;
    let limits = [20, 60, 40].map(Duration::from_millis);
    let timed = limits.map(|limit| pool.run(guarded, (board.notes(), 1)).timeout(limit));
    for outcome in within(join_all(timed)).await {
        assert!(outcome.unwrap_err().is_timed_out());
    }
    board.write("go-0", 1);
    assert_eq!(within(before).await.unwrap(), 0);
    assert_eq!(pool.metrics().timed_out(), 3);
}

#[procession::test]
async fn task_without_signs_of_life_is_stopped_alone() {
    let pool = ready(1, 3).await;
    let board = Board::new();
    let alive = async |notes: Notes| {
        while !notes.has("go") {
            procession::task::alive();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let limit = Duration::from_secs(2);
    let alive = pool
        .run(alive, board.notes())
        .progress_timeout(limit)
        .spawn();
    let silent = pool
        .run(guarded, (board.notes(), 1))
        .progress_timeout(limit);
    assert!(within(silent).await.unwrap_err().is_timed_out());
    board.write("go", 1);
    within(alive).await.unwrap();
}

#[procession::test]
async fn function_that_looks_stops_when_it_is_cancelled() {
    let pool = several(1, 2).cancel_grace(LONG).build().unwrap();
    let board = Board::new();
    let before = pids(&pool);
    let looks = |notes: Notes| {
        notes.write("begun", 1);
        while !is_cancelled() {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let waits = pool.spawn(waiting, (board.notes(), 0));
    let stopped = pool.spawn(looks, board.notes());
    board.lines("begun", 2).await;
    stopped.abort();
    assert!(within(stopped).await.unwrap_err().is_cancelled());
    board.write("go-0", 1);
    assert_eq!(within(waits).await.unwrap(), 0);
    assert!(pids(&pool).is_subset(&before) || before.is_empty());
}

#[procession::test]
async fn dropped_map_stops_all_its_items_and_no_other_task() {
    let pool = ready(2, 4).await;
    let board = Board::new();
    let waits = pool.spawn(waiting, (board.notes(), 0));
    board.lines("begun", 1).await;
    {
        let items = (1..5).map(|n| (board.notes(), n));
        let mut map = pool.map(guarded, items).chunk_size(1).into_future();
        assert!(futures::poll!(&mut map).is_pending());
        board.lines("begun", 5).await;
    }
    board.lines("dropped", 4).await;
    board.write("go-0", 1);
    assert_eq!(within(waits).await.unwrap(), 0);
    until(|| pool.metrics().running() == 0).await;
    assert_eq!(pool.metrics().crashed(), 0);
}

#[procession::test]
async fn abort_of_a_computing_task_ends_it_within_the_default_grace() {
    let pool = ready(1, 2).await;
    let board = Board::new();
    let computes = pool.spawn(busy, board.notes());
    board.lines("busy", 1).await;
    computes.abort();
    assert!(within(computes).await.unwrap_err().is_cancelled());
    assert_eq!(within(pool.run(async || 2_u8, ())).await.unwrap(), 2);
}
