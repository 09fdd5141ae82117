//! Workers of several tasks are counted, replaced, lent and ended as one process each.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::future::join_all;
use procession::{Priority, StartMethod, WorkerState};

use super::{parked_async, ready, several, waiting};
use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::notes::Board;
use crate::pools::{all_idle, pids};
use crate::tasks::pid;

static CALLS: AtomicU32 = AtomicU32::new(0);

async fn count() -> u32 {
    tokio::task::yield_now().await;
    CALLS.fetch_add(1, Ordering::Relaxed) + 1
}

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
    let done: u64 = pool.workers().iter().map(|it| it.tasks_done()).sum();
    assert_eq!(done, 6);
}

#[procession::test]
async fn worker_is_recycled_when_all_its_tasks_have_ended() {
    let pool = several(1, 3).max_tasks_per_worker(3).build().unwrap();
    let board = Board::new();
    let tasks: Vec<_> = (0..3)
        .map(|n| pool.spawn(waiting, (board.notes(), n)))
        .collect();
    let next = pool.spawn(async || pid(), ());
    board.lines("begun", 3).await;
    let first = pool.workers()[0].pid().unwrap();
    for n in [2, 0] {
        board.write(&format!("go-{n}"), 1);
    }
    until(|| tasks.iter().filter(|it| it.is_finished()).count() == 2).await;
    assert!(!next.is_finished());
    board.write("go-1", 1);
    for (n, outcome) in within(join_all(tasks)).await.into_iter().enumerate() {
        assert_eq!(outcome.unwrap(), n);
    }
    assert_ne!(within(next).await.unwrap(), first);
    assert_eq!(
        (pool.metrics().recycled(), pool.metrics().crashed()),
        (1, 0)
    );
    // Many more: none is lost.
    let all = within(pool.map(async |n: u32| n, 0..100).chunk_size(1)).await;
    assert_eq!(all.unwrap(), (0..100).collect::<Vec<_>>());
}

#[procession::test]
async fn restart_and_resize_wait_for_running_tasks() {
    let pool = ready(2, 2).await;
    let board = Board::new();
    let tasks: Vec<_> = (0..4)
        .map(|n| pool.spawn(waiting, (board.notes(), n)))
        .collect();
    board.lines("begun", 4).await;
    let before = pids(&pool);
    let restart = tokio::spawn({
        let pool = pool.clone();
        async move { pool.restart_workers().await }
    });
    (0..4).for_each(|n| board.write(&format!("go-{n}"), 1));
    assert!(within(join_all(tasks)).await.iter().all(Result::is_ok));
    within(restart).await.unwrap();
    assert!(pids(&pool).is_disjoint(&before));
    pool.resize(1);
    until(|| pool.workers().len() == 1).await;
    pool.resize(3);
    all_idle(&pool, 3).await;
    assert_eq!(pool.metrics().crashed(), 0);
}

#[procession::test]
async fn initializer_broadcast_and_exit_function_run_once_in_each_worker() {
    alone(
        "tasks_per_worker::workers::initializer_broadcast_and_exit_function_run_once_in_each_worker",
        async {
            let init = || {
                CALLS.fetch_add(100, Ordering::Relaxed);
            };
            let exit = || CALLS.load(Ordering::Relaxed);
            let pool = several(2, 4).initializer(init, ()).worker_exit(exit, ());
            let pool = pool.build().unwrap();
            let all = within(pool.broadcast(count, ())).await.unwrap();
            assert_eq!(all, [101, 101]);
            let calls = within(join_all((0..40).map(|_| pool.run(count, ())))).await;
            assert!(calls.into_iter().all(|it| it.unwrap() > 100));
            let report = within(pool.shutdown()).await;
            let sum: u32 = report.results::<u32>().iter().sum();
            assert_eq!(sum, 2 * 101 + 40);
        },
    )
    .await;
}

#[procession::test]
async fn lease_has_one_place_of_a_worker_and_others_run_beside_it() {
    let pool = ready(1, 2).await;
    let lease = within(pool.worker()).await.unwrap();
    let board = Board::new();
    let waits = lease.run(waiting, (board.notes(), 0)).spawn();
    board.lines("begun", 1).await;
    assert_eq!(
        within(pool.run(async || pid(), ())).await.unwrap(),
        lease.pid()
    );
    board.write("go-0", 1);
    assert_eq!(within(waits).await.unwrap(), 0);
    drop(lease);
    // Both places are free again.
    let both: Vec<_> = (1..3)
        .map(|n| pool.spawn(waiting, (board.notes(), n)))
        .collect();
    board.lines("begun", 3).await;
    (1..3).for_each(|n| board.write(&format!("go-{n}"), 1));
    assert!(within(join_all(both)).await.iter().all(Result::is_ok));
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
    assert_eq!(within(pool.run(count, ())).await.unwrap(), 1);
}

#[procession::test]
async fn priorities_and_cached_values_work_in_every_lane() {
    let pool = ready(1, 4).await;
    let value = pool.cache(&vec![7_u8; 1 << 20]).unwrap();
    let uses = async |value: procession::Cached<Vec<u8>>, n: usize| {
        tokio::task::yield_now().await;
        (value.as_ptr() as usize, value[n])
    };
    let runs = (0..40).map(|n| {
        let priority = [Priority::Low, Priority::Normal, Priority::High][n % 3];
        pool.run(uses, (value.clone(), n)).priority(priority)
    });
    let seen = within(join_all(runs)).await.into_iter().map(Result::unwrap);
    let places: HashSet<_> = seen.map(|(place, byte)| (place, byte)).collect();
    // Decoded once, whichever task was the first.
    assert_eq!(places.len(), 1);
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
