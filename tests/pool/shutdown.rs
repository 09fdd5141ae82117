//! `shutdown`, `shutdown_timeout` and `terminate`.

use futures::future::join_all;
use procession::{ErrorKind, JoinError, Pool};

use crate::deadline::{until, within};
use crate::grace::{built, graceful};
use crate::leftovers::alone;
use crate::notes::{Board, Desk};
use crate::pools::ready;
use crate::tasks::{busy, held};
use crate::{LONG, SHORT, add, kinds};

#[procession::test]
async fn shutdown_finishes_everything_and_takes_nothing_more() {
    alone(
        "shutdown::shutdown_finishes_everything_and_takes_nothing_more",
        async {
            let board = Board::new();
            let pool = Pool::with_workers(2).unwrap();
            let note = |desk: Desk, n: u64| {
                desk.write("done", n);
                n
            };
            let handles: Vec<_> = (0..50)
                .map(|n| pool.spawn(note, (board.desk(), n)))
                .collect();
            for n in 50..60 {
                drop(pool.spawn(note, (board.desk(), n)));
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
async fn a_dropped_shutdown_goes_on() {
    let board = Board::new();
    let pool = ready(1).await;
    let handle = pool.spawn(held, (board.desk(), "here".to_owned()));
    drop(pool.shutdown());
    assert!(within(pool.run(add, (1, 1))).await.unwrap_err().is_closed());
    board.write("go", 1);
    within(handle).await.unwrap();
    until(|| pool.workers().is_empty()).await;
}

#[procession::test]
async fn shutdown_outlives_a_worker_that_dies() {
    let board = Board::new();
    let pool = ready(1).await;
    let dies = pool.spawn(|| std::process::abort(), ());
    let runs: Vec<_> = (0..5)
        .map(|n| {
            pool.spawn(
                |desk: Desk, n: u64| desk.write("done", n),
                (board.desk(), n),
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
async fn shutdown_of_a_pool_that_is_starting_or_was_never_used() {
    alone(
        "shutdown::shutdown_of_a_pool_that_is_starting_or_was_never_used",
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
async fn shutdown_with_a_limit_kills_what_is_left() {
    alone(
        "shutdown::shutdown_with_a_limit_kills_what_is_left",
        async {
            let board = Board::new();
            let pool = Pool::with_workers(2).unwrap();
            let handles: Vec<_> = (0..10).map(|_| pool.spawn(busy, board.desk())).collect();
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
async fn ten_thousand_queued_tasks_are_cancelled_by_terminate() {
    alone(
        "shutdown::ten_thousand_queued_tasks_are_cancelled_by_terminate",
        async {
            let board = Board::new();
            let pool = Pool::with_workers(2).unwrap();
            let handles: Vec<_> = (0..10_000)
                .map(|_| pool.spawn(busy, board.desk()))
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
async fn terminate_while_large_arguments_are_encoded() {
    alone(
        "shutdown::terminate_while_large_arguments_are_encoded",
        async {
            for _ in 0..3 {
                let pool = ready(1).await;
                let handles: Vec<_> = (0..3)
                    .map(|_| pool.spawn(|text: String| text.len(), "x".repeat(8 << 20)))
                    .collect();
                within(pool.terminate()).await;
                for outcome in within(join_all(handles)).await {
                    // The first may have been quick enough.
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
async fn terminate_does_not_wait_for_the_grace() {
    alone("shutdown::terminate_does_not_wait_for_the_grace", async {
        let board = Board::new();
        let pool = built(graceful(2, LONG)).await;
        let handles: Vec<_> = (0..4).map(|_| pool.spawn(busy, board.desk())).collect();
        board.lines("busy", 2).await;
        handles[0].abort();
        within(pool.terminate()).await;
        for outcome in within(join_all(handles)).await {
            assert!(outcome.unwrap_err().is_cancelled());
        }
    })
    .await;
}
