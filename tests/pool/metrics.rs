//! `Pool::metrics`: what is counted, and that it is counted once.

use std::sync::{Arc, Mutex};

use futures::future::join_all;
use procession::{AbortHandle, Pool};

use crate::deadline::within;
use crate::notes::{Board, Notes};
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

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_count_an_outcome_before_its_caller_has_it() {
    let pool = ready(2).await;
    let fail = |n: u64| assert!(n % 4 > 0, "a multiple of four");
    for n in 0..2_000 {
        let _ = within(pool.run(fail, n)).await;
        let metrics = pool.metrics();
        assert_eq!(metrics.completed() + metrics.failed(), n + 1);
        assert_eq!(metrics.failed(), n / 4 + 1);
    }
}

#[procession::test]
async fn metrics_count_a_task_once_that_is_cancelled_while_the_rule_is_asked() {
    let aborts = Arc::new(Mutex::new(None::<AbortHandle>));
    let to_abort = Arc::clone(&aborts);
    let pool = Pool::builder().workers(1).retries(1).retry_if(move |_| {
        let handle = to_abort.lock().unwrap().take();
        handle.unwrap().abort();
        false
    });
    let pool = pool.build().unwrap();
    let board = Board::new();
    let fail_when_told = |notes: Notes| -> u32 {
        notes.wait("go");
        panic!("as it was told");
    };
    let handle = pool.spawn(fail_when_told, board.notes());
    *aborts.lock().unwrap() = Some(handle.abort_handle());
    board.write("go", 1);
    let error = within(handle).await.unwrap_err();
    assert!(error.is_cancelled() && error.started(), "{error:?}");
    let metrics = pool.metrics();
    assert_eq!((metrics.cancelled(), metrics.failed()), (1, 0));
}

#[procession::test]
async fn metrics_count_no_request_for_a_worker() {
    let board = Board::new();
    let pool = Pool::builder().workers(1).queue_limit(0);
    let pool = pool.queue_timeout(SHORT).build().unwrap();
    // It may wait longer for the worker to start.
    let running = pool.run(held, (board.notes(), "here".to_owned()));
    let running = running.queue_timeout(LONG).spawn();
    board.lines("here", 1).await;
    assert!(within(pool.worker()).await.unwrap_err().is_timed_out());
    let metrics = pool.metrics();
    assert_eq!((metrics.failed(), metrics.timed_out()), (0, 0));
    board.write("go", 1);
    within(running).await.unwrap();
}
