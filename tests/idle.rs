//! An idle pool uses no processor time: neither its workers nor the application wake up for it.

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

/// How long the processes are measured.
const MEASURED: Duration = Duration::from_secs(1);

/// Context switches of the parent in that time that are not the pool's: for the timer of the test, and for a thread of
/// the runtime that falls asleep.
const OWN_SWITCHES: u64 = 10;

/// What the threads of a process have used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Usage {
    /// Context switches, voluntary or not.
    switches: u64,
    /// Processor time.
    ran: Duration,
}

/// Reads `status` and `schedstat` of every thread (`proc_pid_status(5)`, the kernel's sched-stats).
fn usage(pid: u32) -> Usage {
    let mut usage = Usage {
        switches: 0,
        ran: Duration::ZERO,
    };
    for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let thread = thread.unwrap().path();
        let status = fs::read_to_string(thread.join("status")).unwrap_or_default();
        let switches = status.lines().filter(|line| line.contains("ctxt_switches"));
        let counts =
            switches.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        usage.switches += counts.sum::<u64>();
        let stat = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
        let nanos = stat
            .split_whitespace()
            .next()
            .and_then(|it| it.parse().ok());
        usage.ran += Duration::from_nanos(nanos.unwrap_or(0));
    }
    usage
}

fn since(before: Usage, after: Usage) -> Usage {
    Usage {
        switches: after.switches.saturating_sub(before.switches),
        ran: after.ran.saturating_sub(before.ran),
    }
}

/// Uses all parts of the pool that have a timer, a doorbell or shared memory.
async fn use_pool(pool: &Pool) {
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

/// Fails if a pool that was used is busy afterwards. `threads` is how many the runtime has.
async fn assert_idle(threads: u64) {
    let pool = Pool::with_workers(3).unwrap();
    use_pool(&pool).await;
    let pids: Vec<_> = pool
        .workers()
        .iter()
        .map(|worker| worker.pid().unwrap())
        .collect();
    // Threads may still be falling asleep in the first second. One of four must be quiet.
    let mut tries = 0;
    loop {
        let before: Vec<_> = pids.iter().map(|&pid| usage(pid)).collect();
        let parent = usage(std::process::id());
        tokio::time::sleep(MEASURED).await;
        let parent = since(parent, usage(std::process::id()));
        let workers: Vec<_> = pids
            .iter()
            .zip(before)
            .map(|(&pid, before)| since(before, usage(pid)))
            .collect();
        let still = workers
            .iter()
            .all(|it| it.switches == 0 && it.ran.is_zero());
        let quiet = parent.switches <= OWN_SWITCHES + 2 * threads;
        let cheap = parent.ran < Duration::from_millis(5);
        if still && quiet && cheap {
            return;
        }
        tries += 1;
        assert!(tries < 4, "parent {parent:?}, workers {workers:?}");
    }
}

#[procession::test]
async fn pool_is_idle_on_a_current_thread_runtime() {
    let test = "pool_is_idle_on_a_current_thread_runtime";
    alone(test, assert_idle(1)).await;
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_is_idle_on_a_multi_thread_runtime() {
    let test = "pool_is_idle_on_a_multi_thread_runtime";
    alone(test, assert_idle(2)).await;
}
