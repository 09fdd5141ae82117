//! `PoolBuilder::worker_exit`: who runs it, when, and what becomes of what it returns.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use procession::Pool;
use serde_bytes::ByteBuf;

use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::notes::{Board, Notes};
use crate::pools::{all_idle, pids};
use crate::tasks::{held, parked, pid};
use crate::{SHORT, echo, made};

static RAN: AtomicU64 = AtomicU64::new(0);

fn count_one() {
    RAN.fetch_add(1, Ordering::Relaxed);
}

fn report() -> (u32, u64) {
    (pid(), RAN.load(Ordering::Relaxed))
}

#[procession::test]
async fn worker_exit_runs_in_every_worker_after_its_last_task() {
    let test = "worker_exit_function::worker_exit_runs_in_every_worker_after_its_last_task";
    alone(test, async {
        let pool = Pool::builder()
            .workers(3)
            .worker_exit(report, ())
            .build()
            .unwrap();
        all_idle(&pool, 3).await;
        let workers = pids(&pool);
        let calls: Vec<_> = (0..100).map(|_| pool.spawn(count_one, ())).collect();
        let report = within(pool.shutdown()).await;
        assert!(within(join_all(calls)).await.iter().all(Result::is_ok));
        let results = report.results::<(u32, u64)>();
        assert_eq!(results.iter().map(|(_, ran)| ran).sum::<u64>(), 100);
        assert_eq!(
            results
                .iter()
                .map(|(pid, _)| *pid)
                .collect::<std::collections::HashSet<_>>(),
            workers
        );
        assert!(report.errors().is_empty() && report.results::<(u32, u64)>().is_empty());
        assert_eq!(
            (pool.metrics().completed(), pool.metrics().failed()),
            (100, 0)
        );
    })
    .await;
}

#[procession::test]
async fn worker_exit_of_recycled_and_idle_workers_is_in_the_report() {
    let pool = Pool::builder()
        .min_workers(0)
        .max_workers(2)
        .max_tasks_per_worker(10);
    let pool = pool
        .idle_timeout(Duration::from_millis(100))
        .worker_exit(report, ())
        .build()
        .unwrap();
    let calls = join_all((0..95).map(|_| pool.run(count_one, ())));
    assert!(within(calls).await.iter().all(Result::is_ok));
    until(|| pool.workers().is_empty()).await;
    let report = within(pool.shutdown()).await;
    let ran: Vec<_> = report
        .results::<(u32, u64)>()
        .into_iter()
        .map(|(_, ran)| ran)
        .collect();
    assert_eq!(ran.iter().sum::<u64>(), 95);
    assert!(
        ran.len() >= 10 && ran.iter().all(|&ran| ran <= 10),
        "{ran:?}"
    );
}

#[procession::test]
async fn worker_exit_that_fails_is_an_error_in_the_report() {
    let fails = |notes: Notes| -> u32 {
        notes.write("exit", pid());
        let own = pid().to_string();
        match notes.read("exit").iter().position(|line| *line == own) {
            Some(0) => panic!("no report"),
            Some(1) => std::process::abort(),
            _ => 7,
        }
    };
    let board = Board::new();
    let pool = Pool::builder()
        .workers(1)
        .worker_exit(fails, board.notes())
        .max_tasks_per_worker(1);
    let pool = pool.build().unwrap();
    for _ in 0..3 {
        within(pool.run(pid, ())).await.unwrap();
    }
    board.lines("exit", 3).await;
    let report = within(pool.shutdown()).await;
    assert!(report.results::<u32>().iter().all(|&it| it == 7));
    let errors = report.errors();
    assert_eq!(
        errors.iter().filter(|it| it.is_panic()).count(),
        1,
        "{errors:?}"
    );
    assert_eq!(
        errors.iter().filter(|it| it.is_crashed()).count(),
        1,
        "{errors:?}"
    );
    assert_eq!((pool.metrics().failed(), pool.metrics().crashed()), (0, 0));
}

#[procession::test]
async fn worker_exit_that_never_returns_is_killed_after_the_limit_of_tasks() {
    let pool = Pool::builder()
        .workers(2)
        .task_timeout(SHORT)
        .worker_exit(parked, ())
        .build()
        .unwrap();
    all_idle(&pool, 2).await;
    let report = within(pool.shutdown()).await;
    let errors = report.errors();
    assert!(
        errors.len() == 2 && errors.iter().all(procession::JoinError::is_timed_out),
        "{errors:?}"
    );
    let pool = Pool::builder()
        .workers(2)
        .worker_exit(parked, ())
        .build()
        .unwrap();
    all_idle(&pool, 2).await;
    within(pool.shutdown_timeout(SHORT)).await;
}

#[procession::test]
async fn worker_exit_does_not_run_in_killed_workers() {
    let board = Board::new();
    let note = |notes: Notes| notes.write("exit", pid());
    let build = || {
        Pool::builder()
            .workers(2)
            .worker_exit(note, board.notes())
            .build()
            .unwrap()
    };
    let pool = build();
    all_idle(&pool, 2).await;
    within(pool.run(|| std::process::abort(), ()))
        .await
        .unwrap_err();
    within(pool.terminate()).await;
    let pool = build();
    let call = pool.spawn(held, (board.notes(), "here".to_owned()));
    board.lines("here", 1).await;
    drop((pool, call));
    let pool = build();
    within(pool.shutdown()).await;
    // None of the first two pools.
    assert!(board.read("exit").len() <= 2);
}

#[procession::test]
async fn worker_exit_takes_and_returns_large_values() {
    let pool = Pool::builder()
        .workers(2)
        .worker_exit(echo, made(7, 3 << 20))
        .build()
        .unwrap();
    all_idle(&pool, 2).await;
    let results = within(pool.shutdown()).await.results::<ByteBuf>();
    assert!(results.len() == 2 && results.iter().all(|it| *it == made(7, 3 << 20)));
}
