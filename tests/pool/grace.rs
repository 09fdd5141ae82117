//! `cancel_grace`: how long a cancelled task may take to stop before its worker is killed.

use std::time::{Duration, Instant};

use futures::future::join_all;
use procession::task::{cancelled, is_cancelled};
use procession::{Pool, PoolBuilder, WorkerState};
use serde_bytes::ByteBuf;

use crate::deadline::{self, until, within};
use crate::leftovers::alone;
use crate::notes::{Board, Notes};
use crate::pools::{idle, pids};
use crate::tasks::{busy, record_run};
use crate::{LONG, SHORT};

pub(crate) async fn build_idle(builder: PoolBuilder) -> Pool {
    let pool = builder.build().unwrap();
    idle(&pool).await;
    pool
}

pub(crate) fn with_grace(workers: usize, grace: Duration) -> PoolBuilder {
    Pool::builder().workers(workers).cancel_grace(grace)
}

/// Returns when it is cancelled, and writes `n` under `stopped`.
fn stop_when_cancelled(notes: Notes, n: usize) -> usize {
    notes.write("busy", n);
    let end = Instant::now() + deadline::LIMIT;
    while !is_cancelled() {
        assert!(Instant::now() < end, "the task was not cancelled");
        std::thread::sleep(Duration::from_millis(1));
    }
    notes.write("stopped", n);
    n
}

async fn stop_when_cancelled_async(notes: Notes, n: usize) -> usize {
    notes.write("busy", n);
    cancelled().await;
    assert!(is_cancelled());
    notes.write("stopped", n);
    n
}

#[procession::test]
async fn cancel_grace_lets_a_task_stop_and_keep_its_worker() {
    let board = Board::new();
    let pool = build_idle(with_grace(1, LONG)).await;
    let before = pids(&pool);

    let aborted = pool.spawn(stop_when_cancelled, (board.notes(), 0));
    board.lines("busy", 1).await;
    aborted.abort();
    aborted.abort();
    assert!(within(aborted).await.unwrap_err().is_cancelled());

    let timed = pool
        .run(stop_when_cancelled_async, (board.notes(), 1))
        .timeout(SHORT);
    let error = within(timed).await.unwrap_err();
    assert!(error.is_timed_out() && error.started(), "{error:?}");

    let mut dropped = Box::pin(pool.run(stop_when_cancelled_async, (board.notes(), 2)));
    assert!(futures::poll!(&mut dropped).is_pending());
    board.lines("busy", 3).await;
    drop(dropped);
    board.lines("stopped", 3).await;

    // The next task is not cancelled.
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
async fn cancel_grace_ends_with_a_kill() {
    alone("grace::cancel_grace_ends_with_a_kill", async {
        let board = Board::new();
        let grace = 4 * SHORT;
        let pool = build_idle(with_grace(2, grace)).await;
        let other = pool.spawn(|notes: Notes| notes.meet("other", "go"), board.notes());
        board.lines("other", 1).await;
        let before = pids(&pool);
        let handle = pool.spawn(busy, board.notes());
        board.lines("busy", 1).await;
        let told = Instant::now();
        handle.abort();
        let error = within(handle).await.unwrap_err();
        assert!(error.is_cancelled() && error.started(), "{error:?}");
        assert!(told.elapsed() >= grace);
        wait_until_busy(&pool, 1).await;
        assert_eq!(pids(&pool).intersection(&before).count(), 1);
        board.write("go", 1);
        within(other).await.unwrap();
        let limited = pool.run(busy, board.notes()).timeout(SHORT);
        assert!(within(limited).await.unwrap_err().is_timed_out());
        within(pool.shutdown()).await;
    })
    .await;
}

async fn wait_until_busy(pool: &Pool, busy: usize) {
    until(|| {
        let infos = pool.workers();
        let state = |state| infos.iter().filter(|it| it.state() == state).count();
        infos.len() == 2 && state(WorkerState::Busy) == busy && state(WorkerState::Idle) == 2 - busy
    })
    .await;
}

#[procession::test]
async fn cancel_grace_does_not_hold_up_the_tasks_behind() {
    let board = Board::new();
    let pool = build_idle(with_grace(1, LONG)).await;
    let handle = pool.spawn(stop_when_cancelled, (board.notes(), 0));
    board.lines("busy", 1).await;
    let behind: Vec<_> = (0..20)
        .map(|n| pool.spawn(record_run, (board.notes(), n)))
        .collect();
    handle.abort();
    assert!(within(handle).await.unwrap_err().is_cancelled());
    for (n, outcome) in within(join_all(behind)).await.into_iter().enumerate() {
        assert_eq!(outcome.unwrap(), n);
    }
    assert_eq!(board.read("ran").len(), 20);
}

#[procession::test]
async fn cancelled_task_with_a_large_result_stays_cancelled() {
    let board = Board::new();
    let pool = build_idle(with_grace(1, LONG)).await;
    let task = |notes: Notes| {
        stop_when_cancelled(notes, 0);
        ByteBuf::from(vec![1; 1 << 20])
    };
    for n in 1..=3 {
        let handle = pool.spawn(task, board.notes());
        board.lines("busy", n).await;
        handle.abort();
        assert!(within(handle).await.unwrap_err().is_cancelled());
    }
    assert_eq!(pool.metrics().cancelled(), 3);
    assert_eq!(pool.metrics().completed(), 0);
}

#[procession::test]
async fn is_cancelled_is_false_outside_a_task() {
    assert!(!is_cancelled());
    assert!(futures::poll!(Box::pin(cancelled())).is_pending());
}

/// Stops when it is cancelled in its first try. In the second it tells whether it is cancelled at its start.
fn stop_once(notes: Notes) -> bool {
    let is_first = !notes.has("tried");
    notes.write("tried", is_cancelled());
    if is_first {
        stop_when_cancelled(notes, 0);
        return true;
    }
    is_cancelled()
}

#[procession::test]
async fn cancel_grace_of_one_try_does_not_cancel_the_next() {
    let board = Board::new();
    // Long enough for the second try to look before its own limit, under any load.
    let limit = 20 * SHORT;
    let pool = with_grace(1, LONG).retry_if(procession::JoinError::is_timed_out);
    let pool = build_idle(pool).await;
    let before = pids(&pool);
    let call = pool.run(stop_once, board.notes()).timeout(limit).retries(1);
    assert!(!within(call).await.unwrap());
    assert_eq!(board.read("tried"), ["false", "false"]);
    // Both tries were in the same worker.
    assert_eq!(pids(&pool), before);
}
