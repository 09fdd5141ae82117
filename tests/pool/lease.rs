//! `Pool::worker`: one worker for several calls.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::future::join_all;
use futures::{StreamExt as _, TryStreamExt as _, poll};
use procession::{Emit, ErrorKind, JoinError, Pool, WorkerState};

use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::leftovers::processes::kill;
use crate::notes::Board;
use crate::pools::{idle, ready};
use crate::tasks::{busy, held, parked, pid};
use crate::{LONG, SHORT, add, made};

static CALLS: AtomicU32 = AtomicU32::new(0);

fn count() -> u32 {
    CALLS.fetch_add(1, Ordering::Relaxed)
}

#[procession::test]
async fn lease_runs_all_its_calls_in_one_worker_and_no_other_task_does() {
    let pool = ready(3).await;
    let lease = within(pool.worker()).await.unwrap();
    let state = || {
        let workers = pool.workers();
        workers
            .into_iter()
            .find(|it| it.pid() == Some(lease.pid()))
            .unwrap()
            .state()
    };
    assert_eq!(state(), WorkerState::Busy);
    for calls in 0..20 {
        assert_eq!(within(lease.run(count, ())).await.unwrap(), calls);
        assert_eq!(within(lease.run(pid, ())).await.unwrap(), lease.pid());
    }
    let pids = within(join_all((0..200).map(|_| pool.run(pid, ())))).await;
    let pids: HashSet<_> = pids.into_iter().map(Result::unwrap).collect();
    assert!(!pids.contains(&lease.pid()) && !pids.is_empty());
    // Calls at the same time run one after the other.
    let all = within(join_all((20..60).map(|_| lease.run(count, ())))).await;
    let all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
    assert_eq!(all, (20..60).collect::<Vec<_>>());
    let items = lease.stream(|emit: Emit<u32>| emit.blocking_send(pid()), ());
    assert_eq!(
        within(items.try_collect::<Vec<_>>()).await.unwrap(),
        [lease.pid()]
    );
    drop(lease);
    idle(&pool).await;
}

#[procession::test]
async fn lease_takes_values_of_every_size_and_options() {
    let pool = ready(1).await;
    let lease = within(pool.worker()).await.unwrap();
    for len in [0, 10_000, 70_000, 5 << 20] {
        let echoed = within(lease.run(crate::echo, made(7, len))).await.unwrap();
        assert_eq!(echoed, made(7, len));
    }
    let run = lease
        .run(add, (1, 2))
        .timeout(LONG)
        .priority(procession::Priority::Low);
    assert_eq!(within(run).await.unwrap(), 3);
    let panicked = within(lease.run(|| -> u32 { panic!("one call") }, ())).await;
    assert!(panicked.unwrap_err().is_panic());
    assert_eq!(
        within(lease.run(pid, ()).spawn()).await.unwrap(),
        lease.pid()
    );
}

#[procession::test]
async fn dropped_lease_gives_the_worker_back() {
    alone("lease::dropped_lease_gives_the_worker_back", async {
        let pool = ready(2).await;
        let leases = within(join_all([pool.worker(), pool.worker()])).await;
        let leases: Vec<_> = leases.into_iter().map(Result::unwrap).collect();
        assert_ne!(leases[0].pid(), leases[1].pid());
        // All are leased: a task waits, and so does another request.
        let mut waiting = pin!(pool.run(add, (1, 1)));
        let mut request = pin!(pool.worker());
        let mut dropped = Box::pin(pool.worker());
        assert!(poll!(&mut waiting).is_pending() && poll!(&mut request).is_pending());
        assert!(poll!(&mut dropped).is_pending());
        drop(dropped);
        drop(leases);
        assert_eq!(within(waiting).await.unwrap(), 2);
        drop(within(request).await.unwrap());
        // Dropped at the moment at which it was granted, or a little before.
        for _ in 0..50 {
            let mut request = Box::pin(pool.worker());
            let _ = poll!(&mut request);
            tokio::task::yield_now().await;
        }
        let again = within(join_all([pool.worker(), pool.worker()])).await;
        assert!(again.iter().all(Result::is_ok));
        drop(again);
        idle(&pool).await;
        within(pool.shutdown()).await;
    })
    .await;
}

#[procession::test]
async fn request_waits_for_a_busy_worker_and_takes_another_that_is_free_earlier() {
    let board = Board::new();
    let pool = ready(2).await;
    let stuck = pool.spawn(busy, board.notes());
    let short = pool.spawn(held, (board.notes(), "here".to_owned()));
    board.lines("busy", 1).await;
    board.lines("here", 1).await;
    let mut request = pin!(pool.worker());
    assert!(poll!(&mut request).is_pending());
    let later = pool.spawn(add, (1, 1));
    board.write("go", 1);
    let lease = within(request).await.unwrap();
    assert_eq!(within(short).await.unwrap(), lease.pid());
    assert!(!later.is_finished());
    drop(lease);
    assert_eq!(within(later).await.unwrap(), 2);
    stuck.abort();
    assert!(within(stuck).await.unwrap_err().is_cancelled());
}

#[procession::test]
async fn crash_is_an_error_of_that_call_and_ends_the_lease() {
    alone(
        "lease::crash_is_an_error_of_that_call_and_ends_the_lease",
        async {
            let pool = Pool::builder().workers(2).retries(5).build().unwrap();
            for (stop, kind) in [(0, ErrorKind::Crashed), (1, ErrorKind::TimedOut)] {
                let lease = within(pool.worker()).await.unwrap();
                let failing = match stop {
                    0 => lease.run(|| kill(pid()), ()),
                    _ => lease.run(parked, ()).timeout(SHORT),
                };
                let (failed, behind) =
                    within(futures::future::join(failing, lease.run(pid, ()))).await;
                assert_eq!(failed.unwrap_err().kind(), kind);
                let closed = |error: JoinError| {
                    // Not the pool is closed.
                    let names_the_lease = error.to_string().contains("the worker of this lease");
                    error.is_closed() && !error.started() && names_the_lease
                };
                assert!(closed(behind.unwrap_err()));
                assert!(closed(within(lease.run(pid, ())).await.unwrap_err()));
                // The pool has another worker instead.
                assert_eq!(within(pool.run(add, (1, 1))).await.unwrap(), 2);
            }
            let lease = within(pool.worker()).await.unwrap();
            kill(lease.pid());
            until(|| {
                pool.workers()
                    .iter()
                    .all(|it| it.pid() != Some(lease.pid()))
            })
            .await;
            assert!(within(lease.run(pid, ())).await.unwrap_err().is_closed());
            within(pool.terminate()).await;
        },
    )
    .await;
}

#[procession::test]
async fn dropped_call_ends_the_lease_unless_it_ends_within_the_grace() {
    let board = Board::new();
    let pool = Pool::builder()
        .workers(1)
        .cancel_grace(Duration::from_secs(20))
        .build()
        .unwrap();
    let lease = within(pool.worker()).await.unwrap();
    let notes = board.notes();
    let mut call = Box::pin(lease.run(
        |notes: crate::notes::Notes| async move {
            notes.write("here", 1);
            procession::task::cancelled().await;
        },
        notes,
    ));
    assert!(poll!(&mut call).is_pending());
    board.lines("here", 1).await;
    drop(call);
    assert_eq!(within(lease.run(pid, ())).await.unwrap(), lease.pid());
    // A call that has not started is removed.
    let first = lease.run(held, (board.notes(), "first".to_owned())).spawn();
    let mut second = Box::pin(lease.run(count, ()));
    assert!(poll!(&mut second).is_pending());
    drop(second);
    board.write("go", 1);
    assert_eq!(within(first).await.unwrap(), lease.pid());
    assert_eq!(within(lease.run(pid, ())).await.unwrap(), lease.pid());
}

#[procession::test]
async fn call_submitted_before_the_lease_was_dropped_is_run() {
    let pool = ready(1).await;
    let lease = within(pool.worker()).await.unwrap();
    let calls: Vec<_> = (0..5).map(|n| lease.run(add, (n, 1)).spawn()).collect();
    let late = lease.run(add, (1, 1));
    drop(lease);
    let sums: Vec<_> = within(join_all(calls))
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(sums, [1, 2, 3, 4, 5]);
    assert!(within(late).await.unwrap_err().is_closed());
    assert_eq!(within(pool.run(add, (1, 1))).await.unwrap(), 2);
}

#[procession::test]
async fn shutdown_ends_leases_and_finishes_what_they_had() {
    alone(
        "lease::shutdown_ends_leases_and_finishes_what_they_had",
        async {
            let board = Board::new();
            let pool = ready(1).await;
            let lease = within(pool.worker()).await.unwrap();
            let running = lease.run(held, (board.notes(), "here".to_owned())).spawn();
            board.lines("here", 1).await;
            let waiting = pool.spawn(add, (1, 1));
            let mut request = pin!(pool.worker());
            assert!(poll!(&mut request).is_pending());
            let shutdown = pool.shutdown();
            assert!(within(lease.run(pid, ())).await.unwrap_err().is_closed());
            board.write("go", 1);
            within(running).await.unwrap();
            assert_eq!(within(waiting).await.unwrap(), 2);
            assert!(within(request).await.unwrap_err().is_closed());
            within(shutdown).await;
            assert!(within(pool.worker()).await.unwrap_err().is_closed());
            drop(lease);
        },
    )
    .await;
}

#[procession::test]
async fn terminate_ends_the_calls_of_a_lease() {
    let board = Board::new();
    let pool = ready(1).await;
    let lease = within(pool.worker()).await.unwrap();
    let running = lease.run(busy, board.notes()).spawn();
    let behind = lease.run(pid, ()).spawn();
    board.lines("busy", 1).await;
    within(pool.terminate()).await;
    assert!(within(running).await.unwrap_err().is_cancelled());
    assert!(within(behind).await.is_err());
}

#[procession::test]
async fn lease_of_a_full_pool_is_not_held_up_by_the_queue() {
    let pool = Pool::builder().workers(1).queue_limit(1).build().unwrap();
    let lease = within(pool.worker()).await.unwrap();
    let waiting: Vec<_> = (0..5).map(|n| pool.spawn(add, (n, 1))).collect();
    assert!(pool.try_spawn(add, (1, 1)).is_err());
    assert_eq!(within(lease.run(pid, ())).await.unwrap(), lease.pid());
    drop(lease);
    assert!(within(join_all(waiting)).await.iter().all(Result::is_ok));
}

#[procession::test]
async fn many_leases_and_tasks_at_once_all_end() {
    let pool = ready(2).await;
    let work = (0..100_u32).map(|n| {
        let pool = pool.clone();
        async move {
            match n % 3 {
                0 => within(pool.run(pid, ())).await.map(|_| ()),
                1 => {
                    let lease = within(pool.worker()).await.unwrap();
                    let same = within(lease.run(pid, ())).await?;
                    assert_eq!(same, lease.pid());
                    Ok(())
                }
                _ => {
                    let lease = within(pool.worker()).await.unwrap();
                    let error = within(lease.run(|| kill(pid()), ())).await.unwrap_err();
                    assert!(error.is_crashed() && error.started());
                    Ok(())
                }
            }
        }
    });
    let outcomes: Vec<Result<(), JoinError>> =
        within(futures::stream::iter(work).buffer_unordered(20).collect()).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}
