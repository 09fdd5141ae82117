//! `Pool::metrics`: what is counted, and that it is counted once.

use futures::future::join_all;
use procession::Pool;

use crate::deadline::within;
use crate::notes::Board;
use crate::pools::ready;
use crate::tasks::{busy, held, spin};
use crate::{LONG, SHORT, add};

#[procession::test]
async fn metrics_count_each_outcome_once() {
    let pool = Pool::with_workers(2).unwrap();
    within(pool.run(add, (1, 2))).await.unwrap();
    within(pool.map(|n: u64| n, 0..1000)).await.unwrap();
    within(pool.run(|| assert_eq!(1, 2), ())).await.unwrap_err();
    within(pool.run(|| std::process::abort(), ()))
        .await
        .unwrap_err();
    within(pool.run(|| std::process::exit(3), ()))
        .await
        .unwrap_err();
    within(pool.run(spin, ()).timeout(SHORT)).await.unwrap_err();
    let board = Board::new();
    let handle = pool.spawn(busy, board.notes());
    board.lines("busy", 1).await;
    handle.abort();
    assert!(within(handle).await.unwrap_err().is_cancelled());
    let metrics = pool.metrics();
    assert_eq!(metrics.completed(), 1001);
    // The panic, the two crashes and the timeout.
    assert_eq!(metrics.failed(), 4);
    assert_eq!(metrics.crashed(), 2);
    assert_eq!(metrics.timed_out(), 1);
    assert_eq!(metrics.cancelled(), 1);
    assert_eq!((metrics.retried(), metrics.recycled()), (0, 0));
    assert_eq!(
        (metrics.queued(), metrics.running(), metrics.busy()),
        (0, 0, 0)
    );
    assert!(metrics.run_time().count() > 2 && metrics.wait_time().count() > 2);
}

#[procession::test]
async fn metrics_count_queued_and_running_tasks() {
    let board = Board::new();
    let pool = ready(2).await;
    let handles: Vec<_> = (0..20)
        .map(|_| pool.spawn(held, (board.notes(), "here".to_owned())))
        .collect();
    board.lines("here", 2).await;
    let metrics = pool.metrics();
    assert_eq!((metrics.workers(), metrics.busy()), (2, 2));
    assert_eq!(metrics.queued() + metrics.running(), 20);
    assert!(
        metrics.running() >= 2 && metrics.queued() >= 10,
        "{metrics:?}"
    );
    board.write("go", 1);
    within(join_all(handles)).await;
    let metrics = pool.metrics();
    assert_eq!(
        (metrics.completed(), metrics.queued(), metrics.running()),
        (20, 0, 0)
    );
    assert!(metrics.run_time().percentile(100.0) <= metrics.wait_time().percentile(100.0) + LONG);
}
