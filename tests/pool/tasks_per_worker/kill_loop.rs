//! Workers of several tasks are killed again and again; every task has one outcome, which matches what was done.

use std::time::{Duration, Instant};

use futures::future::join_all;
use procession::{ErrorKind, JoinError, Pool};

use super::several;
use crate::deadline::{self, until, within};
use crate::leftovers::alone;
use crate::leftovers::processes::kill_if_running;
use crate::pools::pids;

/// How long the loop runs, in seconds, if `PROCESSION_SOAK_SECONDS` says nothing else.
const SECONDS: u64 = 3;

#[derive(Default)]
struct Seen {
    done: u64,
    crashed: u64,
    panicked: u64,
    timed_out: u64,
}

async fn task(n: u64) -> u64 {
    match n % 5 {
        0 => tokio::time::sleep(Duration::from_millis(n % 7)).await,
        1 => tokio::task::yield_now().await,
        2 => std::thread::sleep(Duration::from_micros(n % 300)),
        3 if n % 25 == 3 => panic!("on purpose"),
        4 if n % 100 == 4 => std::future::pending().await,
        _ => {}
    }
    n
}

#[procession::test]
async fn killed_workers_lose_no_task_and_no_count() {
    alone(
        "tasks_per_worker::kill_loop::killed_workers_lose_no_task_and_no_count",
        async {
            let seconds = std::env::var("PROCESSION_SOAK_SECONDS").ok();
            let seconds = seconds.and_then(|it| it.parse().ok()).unwrap_or(SECONDS);
            let end = Instant::now() + Duration::from_secs(seconds);
            let pool = several(2, 6).build().unwrap();
            let mut seen = Seen::default();
            let (mut kills, mut rounds) = (0, 0_u64);
            while Instant::now() < end || kills < 10 {
                let tasks = (0..60).map(|n| run(&pool, rounds * 60 + n));
                let all = join_all(tasks);
                let (outcomes, killed) =
                    within(async { tokio::join!(all, kill_some(&pool, rounds)) }).await;
                kills += killed;
                rounds += 1;
                outcomes.into_iter().for_each(|it| seen.add(it));
            }
            let metrics = pool.metrics();
            assert_eq!(seen.crashed, metrics.crashed());
            assert_eq!(seen.timed_out, metrics.timed_out());
            assert_eq!(seen.done, metrics.completed());
            assert_eq!(
                seen.panicked + seen.crashed + seen.timed_out,
                metrics.failed()
            );
            assert_eq!(seen.done + metrics.failed(), rounds * 60);
            assert!(seen.done > 0 && seen.panicked > 0 && seen.timed_out > 0);
            until(|| pool.metrics().running() == 0 && pids(&pool).len() == 2).await;
            within(pool.shutdown()).await;
        },
    )
    .await;
}

async fn run(pool: &Pool, n: u64) -> Result<(), JoinError> {
    let call = pool.run(task, n);
    let value = match n % 100 {
        4 => call.timeout(Duration::from_millis(5)).await?,
        _ => call.timeout(deadline::LIMIT).await?,
    };
    assert_eq!(value, n);
    Ok(())
}

/// Kills a worker in the middle of a round. Returns how many were killed.
async fn kill_some(pool: &Pool, round: u64) -> u32 {
    tokio::time::sleep(Duration::from_millis(round % 9)).await;
    let worker = pids(pool).into_iter().next();
    worker.map_or(0, |pid| {
        // The pool may have killed and reaped it, because a task was over its limit.
        kill_if_running(pid);
        1
    })
}

impl Seen {
    fn add(&mut self, outcome: Result<(), JoinError>) {
        let Err(error) = outcome else {
            self.done += 1;
            return;
        };
        assert!(error.started(), "{error:?}");
        match error.kind() {
            ErrorKind::Crashed => {
                assert_eq!(error.signal(), Some(9));
                self.crashed += 1;
            }
            ErrorKind::Panicked => self.panicked += 1,
            ErrorKind::TimedOut => self.timed_out += 1,
            _ => panic!("{error:?}"),
        }
    }
}
