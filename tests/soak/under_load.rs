//! Workers are killed at random while the pool is under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use procession::{Pool, WorkerState};

use crate::accounts::Accounts;
use crate::deadline::{self, within, within_limit};
use crate::leftovers::alone;
use crate::leftovers::processes::kill_if_running;
use crate::load::Load;
use crate::notes::Board;
use crate::pools::drained;
use crate::{Random, seconds, seed};

/// Kills a worker that has started, idle or busy, every few milliseconds. Returns the number of kills.
async fn kill_at_random(pool: &Pool, stop: &AtomicBool, seed: u64) -> u64 {
    let mut random = Random::new(seed);
    let mut kills = 0;
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(random.micros(20_000)).await;
        let infos = pool.workers();
        let mut started: Vec<_> = infos
            .iter()
            .filter(|it| matches!(it.state(), WorkerState::Idle | WorkerState::Busy))
            .collect();
        if !started.is_empty() {
            let victim = started.swap_remove(random.below(started.len() as u64) as usize);
            kill_if_running(victim.pid().unwrap());
            kills += 1;
        }
    }
    kills
}

async fn soak() {
    let seed = seed();
    let board = Board::new();
    let pool = Pool::with_workers(3).unwrap();
    let accounts = Arc::new(Accounts::default());
    let stop = Arc::new(AtomicBool::new(false));
    let load = |number: u64| {
        let load = Load {
            pool: pool.clone(),
            notes: board.notes(),
            accounts: Arc::clone(&accounts),
            stop: Arc::clone(&stop),
        };
        tokio::spawn(load.run(seed + 1 + number))
    };
    let loads: Vec<_> = (0..6).map(load).collect();
    let timer = async {
        tokio::time::sleep(seconds()).await;
        stop.store(true, Ordering::Relaxed);
    };
    let killing = async {
        let (kills, ()) = tokio::join!(kill_at_random(&pool, &stop, seed), timer);
        kills
    };
    let kills = within_limit(seconds() + deadline::LIMIT, killing).await;
    for load in within(join_all(loads)).await {
        load.unwrap();
    }
    drained(&pool).await;
    accounts.compare(&board);
    let metrics = pool.metrics();
    println!(
        "{kills} kills, {:?}, {metrics:?}",
        accounts.counts.lock().unwrap()
    );
    let ends = [metrics.completed(), metrics.failed(), metrics.cancelled()];
    assert_eq!(
        ends.iter().sum::<u64>(),
        accounts.next.load(Ordering::Relaxed),
        "{metrics:?}"
    );
    assert!(metrics.crashed() <= kills, "{metrics:?}");
    within(pool.shutdown()).await;
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_killed_under_load_fail_their_own_tasks_only() {
    alone(
        "under_load::workers_killed_under_load_fail_their_own_tasks_only",
        soak(),
    )
    .await;
}

#[procession::test]
async fn workers_killed_under_load_of_one_thread_fail_their_own_tasks_only() {
    alone(
        "under_load::workers_killed_under_load_of_one_thread_fail_their_own_tasks_only",
        soak(),
    )
    .await;
}
