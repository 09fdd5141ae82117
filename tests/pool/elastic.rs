//! Pools that grow and shrink.

use std::time::Duration;

use futures::future::join_all;
use procession::{Pool, PoolBuilder};

use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::notes::Board;
use crate::pools::{all_idle, pids};
use crate::tasks::{held, pid};
use crate::{LONG, assert_once_each, run_short_tasks};

fn elastic(min: usize, max: usize) -> PoolBuilder {
    Pool::builder()
        .min_workers(min)
        .max_workers(max)
        .idle_timeout(LONG)
}

#[procession::test]
async fn pool_of_at_least_none_has_no_process_until_the_first_task() {
    alone(
        "elastic::pool_of_at_least_none_has_no_process_until_the_first_task",
        async {
            let pool = elastic(0, 2)
                .idle_timeout(Duration::from_millis(100))
                .build()
                .unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!((pool.workers().len(), pool.metrics().workers()), (0, 0));
            for _ in 0..3 {
                within(pool.run(pid, ())).await.unwrap();
                assert!(!pool.workers().is_empty());
                until(|| pool.workers().is_empty()).await;
            }
            assert_eq!(pool.metrics().recycled(), 0);
            within(pool.shutdown()).await;
            let unused = elastic(0, 2).build().unwrap();
            within(unused.shutdown()).await;
        },
    )
    .await;
}

#[procession::test]
async fn pool_grows_to_its_bound_while_tasks_wait_and_shrinks_when_idle() {
    let board = Board::new();
    let pool = elastic(1, 4)
        .idle_timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    all_idle(&pool, 1).await;
    let calls: Vec<_> = (0..8)
        .map(|_| pool.spawn(held, (board.notes(), "here".to_owned())))
        .collect();
    board.lines("here", 4).await;
    assert_eq!(pool.metrics().workers(), 4);
    board.write("go", 1);
    within(join_all(calls)).await;
    all_idle(&pool, 1).await;
    within(pool.run(pid, ())).await.unwrap();
}

/// After short tasks the pool sends tasks ahead, and does not know that these are long.
#[procession::test]
async fn pool_grows_when_tasks_wait_behind_a_long_one() {
    let board = Board::new();
    let pool = elastic(1, 3).build().unwrap();
    run_short_tasks(&pool).await;
    let calls: Vec<_> = (0..3)
        .map(|_| pool.spawn(held, (board.notes(), "here".to_owned())))
        .collect();
    board.lines("here", 3).await;
    board.write("go", 1);
    let pids = within(join_all(calls)).await;
    let mut pids: Vec<_> = pids.into_iter().map(Result::unwrap).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 3);
}

#[procession::test]
async fn short_task_on_an_idle_pool_starts_no_worker() {
    let pool = elastic(1, 4).build().unwrap();
    for _ in 0..200 {
        within(pool.run(|n: u32| n, 1)).await.unwrap();
    }
    assert_eq!(pool.workers().len(), 1);
}

#[procession::test]
async fn resized_pool_grows_at_once_and_shrinks_when_tasks_are_done() {
    let board = Board::new();
    let pool = Pool::with_workers(1).unwrap();
    pool.resize(4);
    all_idle(&pool, 4).await;
    let calls: Vec<_> = (0..4)
        .map(|_| pool.spawn(held, (board.notes(), "here".to_owned())))
        .collect();
    board.lines("here", 4).await;
    let rest: Vec<_> = (0..20)
        .map(|n| pool.spawn(crate::tasks::record_run, (board.notes(), n)))
        .collect();
    pool.resize(2);
    until(|| pool.workers().len() == 4 && pool.metrics().workers() == 4).await;
    board.write("go", 1);
    let ended = within(join_all(calls)).await;
    assert!(ended.iter().all(Result::is_ok));
    let ended = within(join_all(rest)).await;
    assert!(ended.iter().all(Result::is_ok));
    assert_once_each(&board.notes(), "ran", 20);
    all_idle(&pool, 2).await;
    pool.resize(0);
    all_idle(&pool, 1).await;
    within(pool.shutdown()).await;
    pool.resize(3);
    assert!(pool.workers().is_empty());
}

#[procession::test]
async fn killed_idle_workers_of_an_elastic_pool_are_replaced_when_needed() {
    let pool = elastic(0, 2).build().unwrap();
    let first = within(pool.run(pid, ())).await.unwrap();
    for victim in pids(&pool) {
        let victim = rustix::process::Pid::from_raw(victim as i32).unwrap();
        rustix::process::kill_process(victim, rustix::process::Signal::KILL).unwrap();
    }
    until(|| !pids(&pool).contains(&first)).await;
    assert_ne!(within(pool.run(pid, ())).await.unwrap(), first);
}

#[procession::test]
async fn restart_of_an_idle_elastic_pool_ends() {
    let pool = elastic(0, 2).build().unwrap();
    let first = within(pool.run(pid, ())).await.unwrap();
    within(pool.restart_workers()).await;
    assert_ne!(within(pool.run(pid, ())).await.unwrap(), first);
}

#[procession::test]
async fn bounds_that_exclude_each_other_are_an_error() {
    let error = elastic(3, 2).build().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("at least 3"), "{error}");
}
