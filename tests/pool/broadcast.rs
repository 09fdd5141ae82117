//! `Pool::broadcast`: once in every worker.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::poll;
use procession::{ErrorKind, Pool};

use crate::add;
use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::leftovers::processes::kill;
use crate::notes::{Board, Notes};
use crate::pools::{idle, pids, ready};
use crate::tasks::{busy, held, pid};

static SET: AtomicU32 = AtomicU32::new(0);

fn set(to: u32) {
    SET.store(to, Ordering::Relaxed);
}

#[procession::test]
async fn broadcast_runs_once_in_every_worker() {
    let pool = ready(4).await;
    for value in 1..20 {
        assert_eq!(within(pool.broadcast(set, value)).await.unwrap(), [(); 4]);
        let all = within(pool.broadcast(|| (pid(), SET.load(Ordering::Relaxed)), ()))
            .await
            .unwrap();
        assert!(all.iter().all(|(_, set)| *set == value));
        let ran: BTreeSet<_> = all.into_iter().map(|(pid, _)| pid).collect();
        assert_eq!(ran, pids(&pool).into_iter().collect());
    }
}

#[procession::test]
async fn broadcast_reaches_workers_that_are_being_started() {
    let pool = Pool::with_workers(3).unwrap();
    let ran: BTreeSet<_> = within(pool.broadcast(pid, ()))
        .await
        .unwrap()
        .into_iter()
        .collect();
    assert_eq!(ran.len(), 3);
}

#[procession::test]
async fn busy_and_leased_workers_run_it_after_their_task() {
    let board = Board::new();
    let pool = ready(3).await;
    let lease = within(pool.worker()).await.unwrap();
    let of_lease = lease.run(held, (board.notes(), "here".to_owned())).spawn();
    let of_pool = pool.spawn(held, (board.notes(), "here".to_owned()));
    board.lines("here", 2).await;
    let mut broadcast = pin!(pool.broadcast(pid, ()));
    assert!(poll!(&mut broadcast).is_pending());
    // The third worker runs other tasks.
    assert_eq!(within(pool.run(add, (1, 1))).await.unwrap(), 2);
    board.write("go", 1);
    let ran: BTreeSet<_> = within(broadcast).await.unwrap().into_iter().collect();
    assert_eq!(ran, pids(&pool).into_iter().collect());
    within(of_lease).await.unwrap();
    within(of_pool).await.unwrap();
    assert_eq!(within(lease.run(pid, ())).await.unwrap(), lease.pid());
}

#[procession::test]
async fn broadcast_that_ends_a_leased_worker_ends_the_lease() {
    let pool = ready(2).await;
    let lease = within(pool.worker()).await.unwrap();
    let leased = lease.pid();
    let exits_there = |it: u32| {
        if pid() == it {
            std::process::exit(3);
        }
    };
    let error = within(pool.broadcast(exits_there, leased)).await;
    assert_eq!(error.unwrap_err().pid(), Some(leased));
    let closed = within(lease.run(pid, ())).await.unwrap_err();
    assert!(closed.is_closed() && !closed.started(), "{closed}");
}

#[procession::test]
async fn failure_in_one_worker_is_the_failure_of_all() {
    let board = Board::new();
    let pool = Pool::builder().workers(3).retries(4).build().unwrap();
    let fail = |notes: Notes, number: usize, crash: bool| {
        notes.write("ran", pid());
        if procession::current().worker_number() == Some(number) {
            match crash {
                true => kill(pid()),
                false => panic!("in one"),
            }
        }
    };
    for (crash, kind) in [(false, ErrorKind::Panicked), (true, ErrorKind::Crashed)] {
        let error = within(pool.broadcast(fail, (board.notes(), 1, crash)))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    // Once in each worker, also in the worker that failed.
    assert_eq!(board.notes().read("ran").len(), 6);
    assert_eq!(within(pool.broadcast(pid, ())).await.unwrap().len(), 3);
}

#[procession::test]
async fn replacement_runs_what_its_worker_did_not_begin() {
    let board = Board::new();
    let pool = ready(2).await;
    let stuck = pool.spawn(busy, board.notes());
    let victim: u32 = board.lines("busy", 1).await[0].parse().unwrap();
    let mut broadcast = pin!(pool.broadcast(pid, ()));
    assert!(poll!(&mut broadcast).is_pending());
    kill(victim);
    assert!(within(stuck).await.unwrap_err().is_crashed());
    let ran = within(broadcast).await.unwrap();
    assert!(ran.len() == 2 && !ran.contains(&victim));
}

#[procession::test]
async fn dropped_broadcast_is_cancelled_and_a_closed_pool_refuses_it() {
    alone(
        "broadcast::dropped_broadcast_is_cancelled_and_a_closed_pool_refuses_it",
        async {
            let board = Board::new();
            let pool = ready(2).await;
            let held = pool.spawn(held, (board.notes(), "here".to_owned()));
            board.lines("here", 1).await;
            let mut broadcast = Box::pin(pool.broadcast(busy, board.notes()));
            assert!(poll!(&mut broadcast).is_pending());
            board.lines("busy", 1).await;
            drop(broadcast);
            until(|| pool.metrics().cancelled() == 2).await;
            board.write("go", 1);
            within(held).await.unwrap();
            idle(&pool).await;
            assert_eq!(board.notes().read("busy").len(), 1);
            let mut last = pin!(pool.broadcast(pid, ()));
            assert!(poll!(&mut last).is_pending());
            let shutdown = pool.shutdown();
            assert_eq!(within(last).await.unwrap().len(), 2);
            within(shutdown).await;
            let error = within(pool.broadcast(pid, ())).await.unwrap_err();
            assert!(error.is_closed(), "{error}");
        },
    )
    .await;
}

#[procession::test]
async fn broadcast_that_no_worker_can_run_ends_with_the_cause() {
    let pool = Pool::builder()
        .workers(2)
        .initializer(|| Err::<(), _>("no licence".to_owned()), ())
        .build()
        .unwrap();
    let error = within(pool.broadcast(pid, ())).await.unwrap_err();
    assert!(
        error.is_spawn() && error.to_string().contains("no licence"),
        "{error}"
    );
}
