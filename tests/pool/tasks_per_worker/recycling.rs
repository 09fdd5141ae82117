//! Workers of several tasks are replaced: no task is lost, none runs twice, and a long task does not hold up the
//! others.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use procession::{Pool, PoolBuilder, TaskHandle};

use super::{ready, several, waiting};
use crate::assert_once_each;
use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::notes::{Board, Notes};
use crate::pools::{all_idle, pids};
use crate::tasks::pid;

const MEBI: usize = 1 << 20;

/// Notes that it ran, keeps some memory, and waits for a moment.
async fn recorded(notes: Notes, n: usize, kept: usize) -> (usize, u32) {
    notes.write("log", "begin");
    notes.write("ran", n);
    vec![1_u8; kept].leak();
    tokio::time::sleep(Duration::from_millis(n as u64 % 4)).await;
    notes.write("log", "end");
    (n, pid())
}

/// How many tasks ran at a time at the most.
fn most_at_a_time(board: &Board) -> usize {
    let log = board.read("log").into_iter();
    let running = log.scan(0, |running, line| {
        match &*line {
            "begin" => *running += 1,
            _ => *running -= 1,
        }
        Some(*running)
    });
    running.max().unwrap_or(0)
}

/// Runs so many tasks, each of which keeps memory, in a pool with so many places. Returns how many ran in each worker.
async fn recycled(
    pool: PoolBuilder,
    places: usize,
    count: usize,
    kept: usize,
) -> BTreeMap<u32, usize> {
    let pool = pool.build().unwrap();
    let board = Board::new();
    let runs = (0..count).map(|n| pool.run(recorded, (board.notes(), n, kept)));
    let mut ran = BTreeMap::new();
    for (n, outcome) in within(join_all(runs)).await.into_iter().enumerate() {
        let (number, pid) = outcome.unwrap();
        assert_eq!(number, n);
        *ran.entry(pid).or_default() += 1;
    }
    assert_once_each(&board, "ran", count);
    assert!(most_at_a_time(&board) <= places);
    // Workers that are soon too old are hardly ever all idle.
    until(|| pool.metrics().queued() == 0 && pool.metrics().running() == 0).await;
    let metrics = pool.metrics();
    assert_eq!(
        (metrics.completed(), metrics.failed(), metrics.crashed()),
        (count as u64, 0, 0)
    );
    assert!(metrics.recycled() > 0, "{metrics:?}");
    within(pool.shutdown()).await;
    ran
}

#[procession::test]
async fn worker_is_recycled_after_the_tasks_of_all_its_places() {
    alone(
        "tasks_per_worker::recycling::worker_is_recycled_after_the_tasks_of_all_its_places",
        async {
            let ran = recycled(several(2, 3).max_tasks_per_worker(7), 6, 300, 0).await;
            assert!(ran.values().all(|&count| count <= 7), "{ran:?}");
        },
    )
    .await;
}

#[procession::test]
async fn worker_is_recycled_by_age_and_by_the_memory_of_all_its_tasks() {
    let age = Duration::from_millis(20);
    recycled(several(2, 3).max_worker_age(age), 6, 500, 0).await;
    let memory = several(1, 4).max_worker_memory(64 << 20);
    let ran = recycled(memory, 4, 60, 8 * MEBI).await;
    assert!(ran.len() > 1, "{ran:?}");
}

#[procession::test]
async fn long_task_of_a_recycled_worker_does_not_hold_up_its_other_places() {
    let pool = several(1, 2).max_tasks_per_worker(3).build().unwrap();
    let board = Board::new();
    let long = pool.spawn(waiting, (board.notes(), 0));
    board.lines("begun", 1).await;
    for _ in 0..20 {
        within(pool.run(async || (), ())).await.unwrap();
    }
    assert!(pool.metrics().recycled() > 4 && !long.is_finished());
    board.write("go-0", 1);
    assert_eq!(within(long).await.unwrap(), 0);
    until(|| pids(&pool).len() == 1).await;
}

/// Two workers, each with two tasks that wait for `go-N`.
async fn full_pool() -> (Pool, Board, Vec<TaskHandle<usize>>) {
    let pool = ready(2, 2).await;
    let board = Board::new();
    let tasks = (0..4).map(|n| pool.spawn(waiting, (board.notes(), n)));
    let tasks = tasks.collect();
    board.lines("begun", 4).await;
    (pool, board, tasks)
}

#[procession::test]
async fn restart_replaces_each_worker_when_all_its_tasks_have_ended() {
    let (pool, board, tasks) = full_pool().await;
    let before = pids(&pool);
    let restart = tokio::spawn({
        let pool = pool.clone();
        async move { pool.restart_workers().await }
    });
    // Its replacement is there, and it stays for its tasks.
    until(|| pids(&pool).len() == 3).await;
    assert!(before.is_subset(&pids(&pool)) && !restart.is_finished());
    (0..4).for_each(|n| board.write(&format!("go-{n}"), 1));
    assert!(within(join_all(tasks)).await.iter().all(Result::is_ok));
    within(restart).await.unwrap();
    until(|| pids(&pool).is_disjoint(&before)).await;
    assert_eq!(pool.metrics().crashed(), 0);
}

#[procession::test]
async fn resized_pool_finishes_the_tasks_of_workers_that_leave() {
    let (pool, board, tasks) = full_pool().await;
    pool.resize(1);
    let waits = pool.spawn(async || 7_u8, ());
    (0..4).for_each(|n| board.write(&format!("go-{n}"), 1));
    assert!(within(join_all(tasks)).await.iter().all(Result::is_ok));
    assert_eq!(within(waits).await.unwrap(), 7);
    until(|| pool.workers().len() == 1).await;
    pool.resize(3);
    all_idle(&pool, 3).await;
    assert_eq!(pool.metrics().crashed(), 0);
}
