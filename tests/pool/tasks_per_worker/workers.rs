//! Workers of several tasks are counted, started and ended as one process each.

use std::time::Duration;

use futures::future::join_all;
use procession::{StartMethod, WorkerState};

use super::{parked_async, ready, several, waiting};
use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::notes::Board;
use crate::pools::{all_idle, pids};

#[procession::test]
async fn workers_are_processes_whatever_they_run() {
    let pool = ready(2, 3).await;
    assert_eq!((pool.workers().len(), pids(&pool).len()), (2, 2));
    let board = Board::new();
    let tasks: Vec<_> = (0..6)
        .map(|n| pool.spawn(waiting, (board.notes(), n)))
        .collect();
    board.lines("begun", 6).await;
    let metrics = pool.metrics();
    assert_eq!(
        (metrics.workers(), metrics.busy(), metrics.running()),
        (2, 2, 6)
    );
    for info in pool.workers() {
        assert_eq!(info.state(), WorkerState::Busy);
        assert!(info.current_function().unwrap().contains("waiting"));
        assert!(info.current_task().is_some() && info.running_for().is_some());
    }
    (0..6).for_each(|n| board.write(&format!("go-{n}"), 1));
    within(join_all(tasks)).await;
    all_idle(&pool, 2).await;
    let done: usize = pool
        .workers()
        .iter()
        .map(procession::WorkerInfo::tasks_done)
        .sum();
    assert_eq!(done, 6);
}

#[procession::test]
async fn elastic_pool_grows_by_workers_of_several_tasks_and_shrinks() {
    let pool = procession::Pool::builder()
        .min_workers(0)
        .max_workers(3)
        .idle_timeout(Duration::from_millis(50))
        .tasks_per_worker(2)
        .build()
        .unwrap();
    assert_eq!(pool.workers().len(), 0);
    let board = Board::new();
    let tasks: Vec<_> = (0..6)
        .map(|n| pool.spawn(waiting, (board.notes(), n)))
        .collect();
    board.lines("begun", 6).await;
    assert_eq!(pool.workers().len(), 3);
    (0..6).for_each(|n| board.write(&format!("go-{n}"), 1));
    assert!(within(join_all(tasks)).await.iter().all(Result::is_ok));
    until(|| pool.workers().is_empty()).await;
    assert_eq!(within(pool.run(async || 1_u8, ())).await.unwrap(), 1);
}

#[procession::test]
async fn executed_worker_runs_several_tasks() {
    let pool = several(1, 4)
        .start_method(StartMethod::Exec)
        .build()
        .unwrap();
    let board = Board::new();
    let tasks: Vec<_> = (0..4)
        .map(|n| pool.spawn(waiting, (board.notes(), n)))
        .collect();
    board.lines("begun", 4).await;
    (0..4).for_each(|n| board.write(&format!("go-{n}"), 1));
    assert!(within(join_all(tasks)).await.iter().all(Result::is_ok));
    within(pool.shutdown()).await;
}

#[procession::test]
async fn dropped_and_terminated_pools_leave_nothing() {
    alone(
        "tasks_per_worker::workers::dropped_and_terminated_pools_leave_nothing",
        async {
            for terminated in [false, true] {
                let pool = ready(2, 8).await;
                let board = Board::new();
                let parked: Vec<_> = (0..16)
                    .map(|n| pool.spawn(parked_async, (board.notes(), n)))
                    .collect();
                board.lines("begun", 16).await;
                if terminated {
                    within(pool.terminate()).await;
                    for outcome in within(join_all(parked)).await {
                        assert!(outcome.unwrap_err().is_cancelled());
                    }
                }
            }
        },
    )
    .await;
}
