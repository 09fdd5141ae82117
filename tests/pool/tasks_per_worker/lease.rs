//! A lease is of a whole worker: of all its places.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::future::join_all;
use futures::poll;
use procession::{ErrorKind, Pool};

use super::{ready, several, waiting};
use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::leftovers::processes::kill;
use crate::notes::{Board, Notes};
use crate::pools::drained;
use crate::tasks::pid;

static RUNNING: AtomicU32 = AtomicU32::new(0);

/// Returns the most tasks of this kind that ran here at a time.
async fn at_a_time() -> u32 {
    let running = RUNNING.fetch_add(1, Ordering::Relaxed) + 1;
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    RUNNING.fetch_sub(1, Ordering::Relaxed);
    running
}

async fn here() -> u32 {
    pid()
}

#[procession::test]
async fn lease_has_all_places_of_its_worker_and_runs_one_call_at_a_time() {
    alone(
        "tasks_per_worker::lease::lease_has_all_places_of_its_worker_and_runs_one_call_at_a_time",
        async {
            let pool = ready(2, 3).await;
            let lease = within(pool.worker()).await.unwrap();
            let calls = join_all((0..20).map(|_| lease.run(at_a_time, ())));
            let others = join_all((0..100).map(|_| pool.run(here, ())));
            let (calls, others) = within(async { tokio::join!(calls, others) }).await;
            assert!(calls.into_iter().all(|it| it.unwrap() == 1));
            let others: HashSet<_> = others.into_iter().map(Result::unwrap).collect();
            assert!(others.len() == 1 && !others.contains(&lease.pid()));
            drop(lease);
            drained(&pool).await;
            within(pool.shutdown()).await;
        },
    )
    .await;
}

#[procession::test]
async fn lease_waits_for_the_tasks_in_all_places_and_frees_them_all() {
    let pool = ready(1, 3).await;
    let board = Board::new();
    let spawn = |n: usize| pool.spawn(waiting, (board.notes(), n));
    let mut before = [0, 1].map(|n| Some(spawn(n)));
    board.lines("begun", 2).await;
    let mut request = pin!(pool.worker());
    assert!(poll!(&mut request).is_pending());
    let after = [2, 3, 4].map(spawn);
    for n in [1, 0] {
        assert!(poll!(&mut request).is_pending());
        board.write(&format!("go-{n}"), 1);
        within(before[n].take().unwrap()).await.unwrap();
    }
    let lease = within(request).await.unwrap();
    assert_eq!(pool.metrics().queued(), 3);
    assert_eq!(within(lease.run(here, ())).await.unwrap(), lease.pid());
    drop(lease);
    board.lines("begun", 5).await;
    (2..5).for_each(|n| board.write(&format!("go-{n}"), 1));
    assert!(within(join_all(after)).await.iter().all(Result::is_ok));
}

#[procession::test]
async fn calls_of_a_dropped_lease_run_before_anything_else_and_alone() {
    let pool = ready(1, 3).await;
    let board = Board::new();
    let lease = within(pool.worker()).await.unwrap();
    let calls = [0, 1].map(|n| lease.run(waiting, (board.notes(), n)).spawn());
    let others = [2, 3].map(|n| pool.spawn(waiting, (board.notes(), n)));
    drop(lease);
    for n in 0..2 {
        assert_eq!(board.lines("begun", n + 1).await[n], n.to_string());
        assert_eq!(
            (pool.metrics().running(), board.read("begun").len()),
            (1, n + 1)
        );
        board.write(&format!("go-{n}"), 1);
    }
    assert!(within(join_all(calls)).await.iter().all(Result::is_ok));
    board.lines("begun", 4).await;
    (2..4).for_each(|n| board.write(&format!("go-{n}"), 1));
    assert!(within(join_all(others)).await.iter().all(Result::is_ok));
}

#[procession::test]
async fn broadcast_to_a_leased_worker_runs_between_the_calls_of_the_lease() {
    let pool = ready(1, 3).await;
    let board = Board::new();
    let lease = within(pool.worker()).await.unwrap();
    let calls = [0, 1].map(|n| lease.run(waiting, (board.notes(), n)).spawn());
    board.lines("begun", 1).await;
    let note = |notes: Notes| notes.write("begun", "broadcast");
    let mut broadcast = pin!(pool.broadcast(note, board.notes()));
    assert!(poll!(&mut broadcast).is_pending());
    (0..2).for_each(|n| board.write(&format!("go-{n}"), 1));
    within(broadcast).await.unwrap();
    assert!(within(join_all(calls)).await.iter().all(Result::is_ok));
    assert_eq!(board.read("begun"), ["0", "1", "broadcast"]);
}

#[procession::test]
async fn lease_ends_with_its_worker_and_the_pool_has_another() {
    alone(
        "tasks_per_worker::lease::lease_ends_with_its_worker_and_the_pool_has_another",
        async {
            let pool = ready(1, 2).await;
            for _ in 0..5 {
                let lease = within(pool.worker()).await.unwrap();
                let crash = lease.run(|| kill(pid()), ());
                let behind = lease.run(here, ());
                let waits = pool.run(here, ());
                let (crash, behind, waits) =
                    within(async { tokio::join!(crash, behind, waits) }).await;
                assert!(crash.unwrap_err().is_crashed());
                assert_eq!(behind.unwrap_err().kind(), ErrorKind::Closed);
                assert_ne!(waits.unwrap(), lease.pid());
            }
            within(pool.shutdown()).await;
        },
    )
    .await;
}

#[procession::test]
async fn leased_workers_of_an_elastic_pool_count_as_busy_in_all_their_places() {
    let builder = Pool::builder().min_workers(0).max_workers(2);
    let pool = builder.tasks_per_worker(4).build().unwrap();
    let lease = within(pool.worker()).await.unwrap();
    assert_ne!(within(pool.run(here, ())).await.unwrap(), lease.pid());
}

#[procession::test]
async fn leased_worker_is_recycled_when_it_was_given_back() {
    let pool = several(1, 3).max_tasks_per_worker(2).build().unwrap();
    let lease = within(pool.worker()).await.unwrap();
    for _ in 0..5 {
        assert_eq!(within(lease.run(here, ())).await.unwrap(), lease.pid());
    }
    let leased = lease.pid();
    let next = pool.spawn(here, ());
    drop(lease);
    assert_ne!(within(next).await.unwrap(), leased);
    until(|| pool.workers().iter().all(|it| it.pid() != Some(leased))).await;
}

#[procession::test]
async fn shutdown_finishes_the_calls_of_a_lease() {
    let pool = ready(1, 2).await;
    let board = Board::new();
    let lease = within(pool.worker()).await.unwrap();
    let calls = [0, 1].map(|n| lease.run(waiting, (board.notes(), n)).spawn());
    let other = pool.spawn(waiting, (board.notes(), 2));
    let shutdown = pool.shutdown();
    (0..3).for_each(|n| board.write(&format!("go-{n}"), 1));
    assert!(within(join_all(calls)).await.iter().all(Result::is_ok));
    within(other).await.unwrap();
    within(shutdown).await;
}

#[procession::test]
async fn many_leases_and_tasks_and_kills_all_end() {
    let pool = ready(2, 3).await;
    let work = (0..120_u32).map(|n| {
        let pool = pool.clone();
        async move {
            if n % 3 == 0 {
                return within(pool.run(here, ())).await.is_ok();
            }
            let lease = within(pool.worker()).await.unwrap();
            let calls = join_all([lease.run(here, ()), lease.run(here, ())]);
            match n % 9 {
                1 => kill(lease.pid()),
                _ => drop(lease),
            }
            within(calls).await.len() == 2
        }
    });
    let outcomes = within(join_all(work)).await;
    assert!(outcomes.iter().all(|&it| it));
    drained(&pool).await;
}
