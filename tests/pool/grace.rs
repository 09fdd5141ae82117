//! `cancel_grace`: a cancelled task may stop by itself.

use std::time::{Duration, Instant};

use futures::future::join_all;
use procession::task::{cancelled, is_cancelled};
use procession::{Pool, PoolBuilder, WorkerState};
use serde_bytes::ByteBuf;

use crate::deadline::{self, until, within};
use crate::leftovers::alone;
use crate::notes::{Board, Desk};
use crate::pools::{idle, pids};
use crate::tasks::{busy, note};
use crate::{LONG, SHORT};

pub(crate) async fn built(builder: PoolBuilder) -> Pool {
    let pool = builder.build().unwrap();
    idle(&pool).await;
    pool
}

pub(crate) fn graceful(workers: usize, grace: Duration) -> PoolBuilder {
    Pool::builder().workers(workers).cancel_grace(grace)
}

/// Stops when it is told to, and says so.
fn stops(desk: Desk, n: usize) -> usize {
    desk.write("busy", n);
    let end = Instant::now() + deadline::LIMIT;
    while !is_cancelled() {
        assert!(Instant::now() < end, "nobody told");
        std::thread::sleep(Duration::from_millis(1));
    }
    desk.write("stopped", n);
    n
}

async fn stops_async(desk: Desk, n: usize) -> usize {
    desk.write("busy", n);
    cancelled().await;
    assert!(is_cancelled());
    desk.write("stopped", n);
    n
}

#[procession::test]
async fn a_task_that_stops_when_it_is_told_saves_its_worker() {
    let board = Board::new();
    let pool = built(graceful(1, LONG)).await;
    let before = pids(&pool);

    let aborted = pool.spawn(stops, (board.desk(), 0));
    board.lines("busy", 1).await;
    aborted.abort();
    aborted.abort();
    assert!(within(aborted).await.unwrap_err().is_cancelled());

    let timed = pool.run(stops_async, (board.desk(), 1)).timeout(SHORT);
    let error = within(timed).await.unwrap_err();
    assert!(error.is_timed_out() && error.started(), "{error:?}");

    let mut dropped = Box::pin(pool.run(stops_async, (board.desk(), 2)));
    assert!(futures::poll!(&mut dropped).is_pending());
    board.lines("busy", 3).await;
    drop(dropped);
    board.lines("stopped", 3).await;

    // The next one is not told what was meant for them.
    assert!(!within(pool.run(is_cancelled, ())).await.unwrap());
    let patient = async || {
        let never = cancelled();
        tokio::time::timeout(SHORT, never).await.is_err()
    };
    assert!(within(pool.run(patient, ())).await.unwrap());
    assert_eq!(pids(&pool), before);
    let metrics = pool.metrics();
    assert_eq!(
        (metrics.cancelled(), metrics.timed_out()),
        (2, 1),
        "{metrics:?}"
    );
}

#[procession::test]
async fn a_task_that_does_not_stop_is_killed_after_its_grace() {
    alone(
        "grace::a_task_that_does_not_stop_is_killed_after_its_grace",
        async {
            let board = Board::new();
            let grace = 4 * SHORT;
            let pool = built(graceful(2, grace)).await;
            let other = pool.spawn(|desk: Desk| desk.meet("other", "go"), board.desk());
            board.lines("other", 1).await;
            let before = pids(&pool);
            let handle = pool.spawn(busy, board.desk());
            board.lines("busy", 1).await;
            let told = Instant::now();
            handle.abort();
            let error = within(handle).await.unwrap_err();
            assert!(error.is_cancelled() && error.started(), "{error:?}");
            assert!(told.elapsed() >= grace);
            idle_but(&pool, 1).await;
            assert_eq!(pids(&pool).intersection(&before).count(), 1);
            board.write("go", 1);
            within(other).await.unwrap();
            let limited = pool.run(busy, board.desk()).timeout(SHORT);
            assert!(within(limited).await.unwrap_err().is_timed_out());
            within(pool.shutdown()).await;
        },
    )
    .await;
}

async fn idle_but(pool: &Pool, busy: usize) {
    until(|| {
        let infos = pool.workers();
        let state = |state| infos.iter().filter(|it| it.state() == state).count();
        infos.len() == 2 && state(WorkerState::Busy) == busy && state(WorkerState::Idle) == 2 - busy
    })
    .await;
}

#[procession::test]
async fn what_stands_behind_a_task_in_its_grace_runs_elsewhere() {
    let board = Board::new();
    let pool = built(graceful(1, LONG)).await;
    let handle = pool.spawn(stops, (board.desk(), 0));
    board.lines("busy", 1).await;
    let behind: Vec<_> = (0..20)
        .map(|n| pool.spawn(note, (board.desk(), n)))
        .collect();
    handle.abort();
    assert!(within(handle).await.unwrap_err().is_cancelled());
    for (n, outcome) in within(join_all(behind)).await.into_iter().enumerate() {
        assert_eq!(outcome.unwrap(), n);
    }
    assert_eq!(board.read("ran").len(), 20);
}

#[procession::test]
async fn a_large_result_does_not_make_a_cancelled_task_succeed() {
    let board = Board::new();
    let pool = built(graceful(1, LONG)).await;
    let task = |desk: Desk| {
        stops(desk, 0);
        ByteBuf::from(vec![1; 1 << 20])
    };
    for n in 1..=3 {
        let handle = pool.spawn(task, board.desk());
        board.lines("busy", n).await;
        handle.abort();
        assert!(within(handle).await.unwrap_err().is_cancelled());
    }
    assert_eq!(pool.metrics().cancelled(), 3);
    assert_eq!(pool.metrics().completed(), 0);
}

#[procession::test]
async fn outside_a_task_nothing_is_cancelled() {
    assert!(!is_cancelled());
    assert!(futures::poll!(Box::pin(cancelled())).is_pending());
}
