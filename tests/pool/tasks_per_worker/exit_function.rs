//! The exit function of a worker of several tasks runs once, when all of them have ended.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;

use super::{note, several};
use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::leftovers::processes::kill;
use crate::notes::{Board, Notes};
use crate::pools::all_idle;
use crate::tasks::pid;

static BEGUN: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);

async fn counted(notes: Notes, go: String) {
    BEGUN.fetch_add(1, Ordering::Relaxed);
    notes.write("begun", 1);
    note(&notes, &go).await;
    ENDED.fetch_add(1, Ordering::Relaxed);
}

/// The worker, and how many of its tasks have begun and ended.
fn report() -> (u32, u64, u64) {
    let (begun, ended) = (&BEGUN, &ENDED);
    (
        pid(),
        begun.load(Ordering::Relaxed),
        ended.load(Ordering::Relaxed),
    )
}

#[procession::test]
async fn exit_function_runs_once_when_all_places_are_quiet() {
    alone(
        "tasks_per_worker::exit_function::exit_function_runs_once_when_all_places_are_quiet",
        async {
            let pool = several(1, 3).worker_exit(report, ()).build().unwrap();
            let board = Board::new();
            let tasks = ["a", "b", "c"];
            let tasks = tasks.map(|go| pool.spawn(counted, (board.notes(), go.to_owned())));
            board.lines("begun", 3).await;
            let worker = pool.workers()[0].pid().unwrap();
            let shutdown = pool.shutdown();
            for (go, task) in ["a", "b", "c"].iter().zip(tasks) {
                board.write(go, 1);
                within(task).await.unwrap();
            }
            let report = within(shutdown).await;
            assert_eq!(report.results::<(u32, u64, u64)>(), [(worker, 3, 3)]);
            assert!(report.errors().is_empty());
        },
    )
    .await;
}

#[procession::test]
async fn exit_function_of_recycled_workers_misses_no_task() {
    let pool = several(2, 3)
        .max_tasks_per_worker(5)
        .worker_exit(report, ())
        .build()
        .unwrap();
    let board = Board::new();
    board.write("go", 1);
    let tasks = (0..100).map(|_| pool.run(counted, (board.notes(), "go".to_owned())));
    assert!(within(join_all(tasks)).await.iter().all(Result::is_ok));
    let reports = within(pool.shutdown()).await.results::<(u32, u64, u64)>();
    assert!(
        reports
            .iter()
            .all(|(_, begun, ended)| begun == ended && *ended <= 5)
    );
    assert_eq!(reports.iter().map(|(_, _, ended)| ended).sum::<u64>(), 100);
    let pids: HashSet<_> = reports.iter().map(|(pid, ..)| pid).collect();
    assert_eq!(pids.len(), reports.len());
}

#[procession::test]
async fn exit_function_does_not_run_in_a_killed_worker_and_runs_in_the_next() {
    let pool = several(1, 3).worker_exit(report, ()).build().unwrap();
    let board = Board::new();
    let parked = [(); 3].map(|()| pool.spawn(counted, (board.notes(), "never".to_owned())));
    board.lines("begun", 3).await;
    let first = pool.workers()[0].pid().unwrap();
    kill(first);
    for outcome in within(join_all(parked)).await {
        assert!(outcome.unwrap_err().is_crashed());
    }
    until(|| pool.workers().iter().all(|it| it.pid() != Some(first))).await;
    all_idle(&pool, 1).await;
    let second = pool.workers()[0].pid().unwrap();
    let report = within(pool.shutdown()).await;
    assert_eq!(report.results::<(u32, u64, u64)>(), [(second, 0, 0)]);
}

#[procession::test]
async fn exit_function_waits_for_a_task_that_was_cancelled_and_ends_within_the_grace() {
    let pool = several(1, 2)
        .cancel_grace(Duration::from_secs(20))
        .worker_exit(report, ())
        .build()
        .unwrap();
    let board = Board::new();
    let looks = |notes: Notes| {
        BEGUN.fetch_add(1, Ordering::Relaxed);
        notes.write("begun", 1);
        while !procession::task::is_cancelled() {
            std::thread::sleep(Duration::from_millis(1));
        }
        notes.wait("go");
        ENDED.fetch_add(1, Ordering::Relaxed);
    };
    let cancelled = pool.spawn(looks, board.notes());
    board.lines("begun", 1).await;
    let shutdown = pool.shutdown();
    cancelled.abort();
    board.write("go", 1);
    assert!(within(cancelled).await.unwrap_err().is_cancelled());
    let reports = within(shutdown).await.results::<(u32, u64, u64)>();
    assert!(matches!(reports[..], [(_, 1, 1)]), "{reports:?}");
}
