//! `shutdown`, `shutdown_timeout` and `terminate`.

use futures::future::join_all;
use procession::{ErrorKind, JoinError, Pool};

use crate::deadline::{until, within};
use crate::grace::{build_idle, with_grace};
use crate::leftovers::alone;
use crate::notes::{Board, Notes};
use crate::pools::ready;
use crate::tasks::{busy, held};
use crate::{LONG, SHORT, add, kinds};

#[procession::test]
async fn shutdown_finishes_accepted_tasks_and_refuses_new_ones() {
    alone(
        "shutdown::shutdown_finishes_accepted_tasks_and_refuses_new_ones",
        async {
            let board = Board::new();
            let pool = Pool::with_workers(2).unwrap();
            let note = |notes: Notes, n: u64| {
                notes.write("done", n);
                n
            };
            let handles: Vec<_> = (0..50)
                .map(|n| pool.spawn(note, (board.notes(), n)))
                .collect();
            for n in 50..60 {
                drop(pool.spawn(note, (board.notes(), n)));
            }
            let shutdown = pool.shutdown();
            let late = within(pool.run(add, (1, 1))).await.unwrap_err();
            assert!(late.is_closed() && !late.started(), "{late:?}");
            assert!(
                within(pool.spawn(add, (1, 1)))
                    .await
                    .unwrap_err()
                    .is_closed()
            );
            let mapped = within(pool.map(|n: u64| n, 0..100)).await;
            assert!(mapped.unwrap_err().is_closed());
            within(shutdown).await;
            assert_eq!(board.read("done").len(), 60);
            for (n, outcome) in within(join_all(handles)).await.into_iter().enumerate() {
                assert_eq!(outcome.unwrap(), n as u64);
            }
            assert_eq!(pool.workers().len(), 0);
            within(pool.shutdown()).await;
            within(pool.terminate()).await;
            within(pool.shutdown_timeout(SHORT)).await;
        },
    )
    .await;
}

#[procession::test]
async fn shutdown_continues_after_its_future_is_dropped() {
    let board = Board::new();
    let pool = ready(1).await;
    let handle = pool.spawn(held, (board.notes(), "here".to_owned()));
    drop(pool.shutdown());
    assert!(within(pool.run(add, (1, 1))).await.unwrap_err().is_closed());
    board.write("go", 1);
    within(handle).await.unwrap();
    until(|| pool.workers().is_empty()).await;
}

#[procession::test]
async fn shutdown_completes_when_a_worker_crashes() {
    let board = Board::new();
    let pool = ready(1).await;
    let dies = pool.spawn(|| std::process::abort(), ());
    let runs: Vec<_> = (0..5)
        .map(|n| {
            pool.spawn(
                |notes: Notes, n: u64| notes.write("done", n),
                (board.notes(), n),
            )
        })
        .collect();
    within(pool.shutdown()).await;
    assert!(within(dies).await.unwrap_err().is_crashed());
    for outcome in within(join_all(runs)).await {
        outcome.unwrap();
    }
    assert_eq!(board.read("done").len(), 5);
}

#[procession::test]
async fn shutdown_of_a_starting_or_unused_pool_completes() {
    alone(
        "shutdown::shutdown_of_a_starting_or_unused_pool_completes",
        async {
            within(Pool::with_workers(3).unwrap().shutdown()).await;
            within(Pool::with_workers(3).unwrap().terminate()).await;
            let pool = Pool::with_workers(3).unwrap();
            let handle = pool.spawn(add, (1, 2));
            within(pool.shutdown()).await;
            assert_eq!(within(handle).await.unwrap(), 3);
            drop(Pool::with_workers(3).unwrap());
            within(ready(3).await.shutdown()).await;
        },
    )
    .await;
}

#[procession::test]
async fn shutdown_timeout_kills_the_remaining_tasks() {
    alone(
        "shutdown::shutdown_timeout_kills_the_remaining_tasks",
        async {
            let board = Board::new();
            let pool = Pool::with_workers(2).unwrap();
            let handles: Vec<_> = (0..10).map(|_| pool.spawn(busy, board.notes())).collect();
            board.lines("busy", 2).await;
            within(pool.shutdown_timeout(SHORT)).await;
            assert_eq!(pool.workers().len(), 0);
            let outcomes = within(join_all(handles)).await;
            assert_eq!(kinds(&outcomes), [Some(ErrorKind::Cancelled); 10]);
            let started = outcomes.iter().filter_map(|it| it.as_ref().err());
            assert_eq!(started.filter(|error| error.started()).count(), 2);
            assert_eq!(pool.metrics().cancelled(), 10);

            let pool = Pool::with_workers(2).unwrap();
            let handles: Vec<_> = (0..10).map(|n| pool.spawn(add, (n, n))).collect();
            within(pool.shutdown_timeout(LONG)).await;
            assert_eq!(kinds(&within(join_all(handles)).await), [None; 10]);
        },
    )
    .await;
}

#[procession::test]
async fn terminate_cancels_ten_thousand_queued_tasks() {
    alone(
        "shutdown::terminate_cancels_ten_thousand_queued_tasks",
        async {
            let board = Board::new();
            let pool = Pool::with_workers(2).unwrap();
            let handles: Vec<_> = (0..10_000)
                .map(|_| pool.spawn(busy, board.notes()))
                .collect();
            board.lines("busy", 2).await;
            within(pool.terminate()).await;
            let outcomes = within(join_all(handles)).await;
            assert!(
                kinds(&outcomes)
                    .iter()
                    .all(|it| *it == Some(ErrorKind::Cancelled))
            );
            let errors = outcomes.iter().map(|it| it.as_ref().unwrap_err());
            let started: Vec<_> = errors.filter(|error| error.started()).collect();
            assert_eq!(started.len(), 2, "{started:?}");
            assert_eq!(board.read("busy").len(), 2);
            let metrics = pool.metrics();
            assert_eq!((metrics.cancelled(), metrics.queued()), (10_000, 0));
            assert!(within(pool.run(add, (1, 1))).await.unwrap_err().is_closed());
        },
    )
    .await;
}

#[procession::test]
async fn terminate_completes_while_large_arguments_are_encoded() {
    alone(
        "shutdown::terminate_completes_while_large_arguments_are_encoded",
        async {
            for _ in 0..3 {
                let pool = ready(1).await;
                let handles: Vec<_> = (0..3)
                    .map(|_| pool.spawn(|text: String| text.len(), "x".repeat(8 << 20)))
                    .collect();
                within(pool.terminate()).await;
                for outcome in within(join_all(handles)).await {
                    // The first task may have finished before.
                    let kind = outcome.as_ref().err().map(JoinError::kind);
                    assert!(
                        matches!(kind, None | Some(ErrorKind::Cancelled)),
                        "{kind:?}"
                    );
                }
                assert_eq!(pool.metrics().queued(), 0);
            }
        },
    )
    .await;
}

#[procession::test]
async fn terminate_does_not_wait_for_the_cancel_grace() {
    alone(
        "shutdown::terminate_does_not_wait_for_the_cancel_grace",
        async {
            let board = Board::new();
            let pool = build_idle(with_grace(2, LONG)).await;
            let handles: Vec<_> = (0..4).map(|_| pool.spawn(busy, board.notes())).collect();
            board.lines("busy", 2).await;
            handles[0].abort();
            within(pool.terminate()).await;
            for outcome in within(join_all(handles)).await {
                assert!(outcome.unwrap_err().is_cancelled());
            }
        },
    )
    .await;
}

#[test]
fn pool_futures_are_send_and_unpin() {
    fn future<T: IntoFuture + Send + Unpin>() {}
    future::<procession::Shutdown>();
    future::<procession::Run<u32>>();
    future::<procession::TaskHandle<u32>>();
    future::<procession::Map<'_, u32>>();
    future::<procession::MapFuture<'_, u32>>();
}
