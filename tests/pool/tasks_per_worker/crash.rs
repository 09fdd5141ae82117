//! A panic ends its task alone; the end of the worker ends the tasks that it had started, and no other.

use futures::future::join_all;

use super::{parked_async, ready, several, waiting};
use crate::assert_once_each;
use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::leftovers::processes::kill;
use crate::notes::{Board, Notes};
use crate::pools::{all_idle, pids};
use crate::tasks::{pid, record_run};

#[procession::test]
async fn panic_ends_its_task_alone() {
    let pool = ready(1, 4).await;
    let board = Board::new();
    let before = pids(&pool);
    let waits = pool.spawn(waiting, (board.notes(), 0));
    board.lines("begun", 1).await;
    for n in 0..20_u32 {
        let error = within(pool.run(panics, n)).await.unwrap_err();
        let report = error.panic().unwrap();
        assert!(
            report.message().contains(&format!("number {n}")),
            "{report:?}"
        );
        assert!(report.location().contains("crash.rs"), "{report:?}");
    }
    board.write("go-0", 1);
    assert_eq!(within(waits).await.unwrap(), 0);
    assert_eq!(pids(&pool), before);
}

async fn panics(n: u32) -> u32 {
    tokio::task::yield_now().await;
    assert_eq!(n, u32::MAX, "number {n}");
    n
}

async fn ends(by_abort: bool) -> u32 {
    match by_abort {
        true => std::process::abort(),
        false => std::process::exit(3),
    }
}

#[procession::test]
async fn killed_worker_fails_the_tasks_it_had_started_and_no_other() {
    alone(
        "tasks_per_worker::crash::killed_worker_fails_the_tasks_it_had_started_and_no_other",
        async {
            let pool = ready(2, 3).await;
            let board = Board::new();
            let tasks: Vec<_> = (0..6)
                .map(|n| pool.spawn(with_pid, (board.notes(), n)))
                .collect();
            let waits: Vec<_> = (6..12)
                .map(|n| pool.spawn(record_run, (board.notes(), n)))
                .collect();
            let lines = board.lines("pids", 6).await;
            let victim: u32 = lines[0].parse().unwrap();
            let started = lines.iter().filter(|it| **it == lines[0]).count();
            assert_eq!(started, 3);
            kill(victim);
            until(|| tasks.iter().filter(|it| it.is_finished()).count() == started).await;
            board.write("go", 1);
            let outcomes = within(join_all(tasks)).await;
            for error in outcomes.iter().filter_map(|it| it.as_ref().err()) {
                assert!(error.is_crashed() && error.started(), "{error:?}");
                assert_eq!((error.signal(), error.pid()), (Some(9), Some(victim)));
            }
            let alive = outcomes.iter().filter_map(|it| it.as_ref().ok());
            assert_eq!(alive.filter(|it| **it != victim).count(), 3);
            for (n, outcome) in (6..).zip(within(join_all(waits)).await) {
                assert_eq!(outcome.unwrap(), n);
            }
            let metrics = pool.metrics();
            assert_eq!((metrics.crashed(), metrics.failed()), (3, 3));
            all_idle(&pool, 2).await;
            within(pool.shutdown()).await;
        },
    )
    .await;
}

async fn with_pid(notes: Notes, _n: usize) -> u32 {
    notes.write("pids", pid());
    super::note(&notes, "go").await;
    pid()
}

#[procession::test]
async fn task_that_aborts_ends_those_beside_it_as_crashed() {
    let pool = ready(1, 3).await;
    let board = Board::new();
    let parked: Vec<_> = (0..2)
        .map(|n| pool.spawn(parked_async, (board.notes(), n)))
        .collect();
    board.lines("begun", 2).await;
    let error = within(pool.run(ends, true)).await.unwrap_err();
    assert!(error.is_crashed() && error.signal() == Some(6), "{error:?}");
    for outcome in within(join_all(parked)).await {
        let error = outcome.unwrap_err();
        assert!(error.is_crashed() && error.started(), "{error:?}");
        assert_eq!(error.signal(), Some(6));
    }
    assert_eq!(within(pool.run(waiting_now, ())).await.unwrap(), 7);
}

async fn waiting_now() -> u32 {
    tokio::task::yield_now().await;
    7
}

#[procession::test]
async fn task_that_exits_ends_those_beside_it_as_exited() {
    let pool = ready(1, 2).await;
    let board = Board::new();
    let parked = pool.spawn(parked_async, (board.notes(), 0));
    board.lines("begun", 1).await;
    let error = within(pool.run(ends, false)).await.unwrap_err();
    assert_eq!(error.exit_code(), Some(3));
    assert_eq!(within(parked).await.unwrap_err().exit_code(), Some(3));
}

#[procession::test]
async fn tasks_with_retries_run_again_after_the_crash_of_another() {
    let pool = several(1, 4).retries(1).build().unwrap();
    let board = Board::new();
    let tasks: Vec<_> = (0..3)
        .map(|n| pool.spawn(waiting, (board.notes(), n)))
        .collect();
    board.lines("begun", 3).await;
    kill(pool.workers()[0].pid().unwrap());
    board.lines("begun", 6).await;
    for n in 0..3 {
        board.write(&format!("go-{n}"), 1);
    }
    for (n, outcome) in within(join_all(tasks)).await.into_iter().enumerate() {
        assert_eq!(outcome.unwrap(), n);
    }
    let metrics = pool.metrics();
    assert_eq!((metrics.retried(), metrics.failed()), (3, 0));
}

#[procession::test]
async fn tasks_that_a_killed_worker_only_received_run_once_elsewhere() {
    let pool = ready(1, 2).await;
    crate::run_short_tasks(&pool).await;
    let board = Board::new();
    let parked: Vec<_> = (0..2)
        .map(|n| pool.spawn(parked_async, (board.notes(), n)))
        .collect();
    let tasks: Vec<_> = (0..100)
        .map(|n| pool.spawn(record_run, (board.notes(), n)))
        .collect();
    board.lines("begun", 2).await;
    kill(pool.workers()[0].pid().unwrap());
    for outcome in within(join_all(parked)).await {
        assert!(outcome.unwrap_err().is_crashed());
    }
    for (n, outcome) in within(join_all(tasks)).await.into_iter().enumerate() {
        assert_eq!(outcome.unwrap(), n);
    }
    assert_once_each(&board, "ran", 100);
}
