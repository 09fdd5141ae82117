//! A pool that has nothing to do does nothing: nobody of it wakes up.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod deadline;
mod leftovers;

use std::fs;
use std::time::Duration;

use deadline::{until, within};
use futures::future::join_all;
use leftovers::alone;
use procession::{Pool, WorkerState};
use serde_bytes::ByteBuf;

/// How long nothing happens.
const WHILE: Duration = Duration::from_secs(1);

/// Wake-ups of the parent in that time that are not the pool's: the test's own timer, and of every
/// thread of the runtime what it does on its way to sleep.
const ITS_OWN: u64 = 10;

/// What the threads of a process have done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Doings {
    /// How often they went to sleep or were sent to.
    switches: u64,
    /// How long they ran.
    ran: Duration,
}

/// Reads `status` and `schedstat` of every thread (`proc_pid_status(5)`, the kernel's sched-stats).
fn doings(pid: u32) -> Doings {
    let mut doings = Doings {
        switches: 0,
        ran: Duration::ZERO,
    };
    for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let thread = thread.unwrap().path();
        let status = fs::read_to_string(thread.join("status")).unwrap_or_default();
        let switches = status.lines().filter(|line| line.contains("ctxt_switches"));
        let counts =
            switches.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        doings.switches += counts.sum::<u64>();
        let stat = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
        let nanos = stat
            .split_whitespace()
            .next()
            .and_then(|it| it.parse().ok());
        doings.ran += Duration::from_nanos(nanos.unwrap_or(0));
    }
    doings
}

fn since(before: Doings, after: Doings) -> Doings {
    Doings {
        switches: after.switches.saturating_sub(before.switches),
        ran: after.ran.saturating_sub(before.ran),
    }
}

/// Uses the pool for everything that needs a timer, a bell or memory.
async fn use_it(pool: &Pool) {
    let long = Duration::from_secs(600);
    let runs = (0..100).map(|n| pool.run(|n: u64| n, n).timeout(long));
    within(join_all(runs)).await;
    within(pool.map(|n: u64| n, 0..10_000)).await.unwrap();
    let slow = |n: u64| std::thread::sleep(Duration::from_millis(n));
    within(pool.map(slow, [0, 5, 0, 5]).chunk_size(4))
        .await
        .unwrap();
    within(pool.run(slow, 1_000).timeout(Duration::from_millis(20)))
        .await
        .unwrap_err();
    let large = ByteBuf::from(vec![1; 1 << 20]);
    within(pool.run(|bytes: ByteBuf| bytes, large))
        .await
        .unwrap();
    until(|| {
        let infos = pool.workers();
        infos.iter().all(|it| it.state() == WorkerState::Idle)
    })
    .await;
}

async fn costs_nothing(threads: u64) {
    let pool = Pool::with_workers(3).unwrap();
    use_it(&pool).await;
    let pids: Vec<_> = pool
        .workers()
        .iter()
        .map(|worker| worker.pid().unwrap())
        .collect();
    // What is on its way to sleep is given the time to get there: a second without anything is waited
    // for, and must come soon.
    let mut tries = 0;
    loop {
        let before: Vec<_> = pids.iter().map(|&pid| doings(pid)).collect();
        let parent = doings(std::process::id());
        tokio::time::sleep(WHILE).await;
        let parent = since(parent, doings(std::process::id()));
        let workers: Vec<_> = pids
            .iter()
            .zip(before)
            .map(|(&pid, before)| since(before, doings(pid)))
            .collect();
        let still = workers
            .iter()
            .all(|it| it.switches == 0 && it.ran.is_zero());
        let quiet = parent.switches <= ITS_OWN + 2 * threads;
        let cheap = parent.ran < Duration::from_millis(5);
        if still && quiet && cheap {
            return;
        }
        tries += 1;
        assert!(tries < 4, "parent {parent:?}, workers {workers:?}");
    }
}

#[procession::test]
async fn an_idle_pool_costs_nothing_on_a_current_thread_runtime() {
    alone(
        "an_idle_pool_costs_nothing_on_a_current_thread_runtime",
        costs_nothing(1),
    )
    .await;
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_pool_costs_nothing_on_a_multi_thread_runtime() {
    alone(
        "an_idle_pool_costs_nothing_on_a_multi_thread_runtime",
        costs_nothing(2),
    )
    .await;
}
