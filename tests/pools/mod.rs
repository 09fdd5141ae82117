//! Pools in a state that a test can start from.

#![allow(dead_code, reason = "no test file needs all of it")]

use std::collections::HashSet;

use procession::{Pool, WorkerInfo, WorkerState};

use crate::deadline::until;

/// A pool whose workers have started and are idle.
pub(crate) async fn ready(workers: usize) -> Pool {
    let pool = Pool::with_workers(workers).expect("a pool can be built");
    all_idle(&pool, workers).await;
    pool
}

/// Waits until the pool has this many workers and all are idle.
pub(crate) async fn all_idle(pool: &Pool, workers: usize) {
    until(|| {
        let infos = pool.workers();
        infos.len() == workers && infos.iter().all(|it| it.state() == WorkerState::Idle)
    })
    .await;
}

/// Waits until all workers are idle and no task is queued.
pub(crate) async fn idle(pool: &Pool) {
    until(|| {
        let infos = pool.workers();
        infos.iter().all(|it| it.state() == WorkerState::Idle) && pool.metrics().queued() == 0
    })
    .await;
}

/// Waits until all workers are idle and no task is queued or running.
pub(crate) async fn drained(pool: &Pool) {
    until(|| {
        let infos = pool.workers();
        let metrics = pool.metrics();
        infos.iter().all(|it| it.state() == WorkerState::Idle)
            && metrics.queued() == 0
            && metrics.running() == 0
    })
    .await;
}

/// The pids of the workers that have a process.
pub(crate) fn pids(pool: &Pool) -> HashSet<u32> {
    pool.workers().iter().filter_map(WorkerInfo::pid).collect()
}
