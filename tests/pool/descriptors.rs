//! A pool in a process that has no descriptors left.

use std::fs::File;
use std::time::Duration;

use futures::future::join_all;
use procession::{ErrorKind, Pool};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_bytes::ByteBuf;

use crate::deadline::within;
use crate::leftovers::processes::kill_if_running;
use crate::leftovers::{alone, descriptors};
use crate::pools::all_idle;
use crate::tasks::pid;
use crate::{echo, made};

fn length(bytes: ByteBuf) -> usize {
    bytes.len()
}

fn kill_all(pool: &Pool) {
    for worker in pool.workers() {
        if let Some(pid) = worker.pid() {
            kill_if_running(pid);
        }
    }
}

/// Holds all descriptors of this process but a few.
struct Shortage {
    _taken: Vec<File>,
}

impl Shortage {
    fn with_free(free: usize) -> Self {
        let mut taken: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        taken.truncate(taken.len().saturating_sub(free));
        Self { _taken: taken }
    }
}

/// Allows 100 more descriptors than are open: enough for every test here, and quickly taken.
fn lower_limit() {
    let used = descriptors().values().sum::<usize>() as u64;
    let old = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: Some(used + 100),
        maximum: old.maximum,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
}

async fn recovers(pool: &Pool, workers: usize) {
    let recovered = async {
        while pool.run(pid, ()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(recovered).await;
    let runs = (0..50).map(|n| pool.run(|n: u64| n, n));
    for outcome in within(join_all(runs)).await {
        outcome.unwrap();
    }
    // A missing worker is started with the first task that comes after the breaker has half-opened.
    let complete = async {
        while pool.workers().len() < workers {
            pool.run(pid, ()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(complete).await;
    all_idle(pool, workers).await;
}

#[procession::test]
async fn worker_start_without_descriptors_fails_tasks_until_there_are_some() {
    alone(
        "descriptors::worker_start_without_descriptors_fails_tasks_until_there_are_some",
        async {
            lower_limit();
            let pool = Pool::with_workers(2).unwrap();
            all_idle(&pool, 2).await;
            for free in 0..24 {
                let shortage = Shortage::with_free(free);
                kill_all(&pool);
                let runs = (0..10).map(|n| pool.run(|n: u64| n, n));
                for outcome in within(join_all(runs)).await {
                    if let Err(error) = outcome {
                        assert!(error.is_spawn() && !error.started(), "{free}: {error:?}");
                    }
                }
                drop(shortage);
                recovers(&pool, 2).await;
            }
            let metrics = pool.metrics();
            assert_eq!((metrics.crashed(), metrics.timed_out()), (0, 0));
            within(pool.shutdown()).await;
        },
    )
    .await;
}

#[procession::test]
async fn build_without_descriptors_is_an_error_or_a_pool_that_recovers() {
    alone(
        "descriptors::build_without_descriptors_is_an_error_or_a_pool_that_recovers",
        async {
            lower_limit();
            for free in 0..40 {
                let shortage = Shortage::with_free(free);
                let Ok(pool) = Pool::with_workers(2) else {
                    continue;
                };
                match within(pool.run(pid, ())).await {
                    Ok(worker) => assert_ne!(worker, pid()),
                    Err(error) => assert!(error.is_spawn(), "{free}: {error:?}"),
                }
                drop(shortage);
                recovers(&pool, 2).await;
                within(pool.shutdown()).await;
            }
        },
    )
    .await;
}

#[procession::test]
async fn large_values_without_descriptors_fail_their_own_tasks() {
    alone(
        "descriptors::large_values_without_descriptors_fail_their_own_tasks",
        async {
            lower_limit();
            for free in 0..8 {
                for len in [1 << 20, 100_000] {
                    let pool = Pool::with_workers(1).unwrap();
                    all_idle(&pool, 1).await;
                    let shortage = Shortage::with_free(free);
                    for round in 0..4 {
                        let there = pool.spawn(length, made(1, len));
                        let back = pool.spawn(made, (round, len));
                        let both = pool.spawn(echo, made(round, len));
                        let failed = [
                            within(there).await.map(|it| assert_eq!(it, len)).err(),
                            within(back)
                                .await
                                .map(|it| assert_eq!(it, made(round, len)))
                                .err(),
                            within(both)
                                .await
                                .map(|it| assert_eq!(it, made(round, len)))
                                .err(),
                        ];
                        for error in failed.into_iter().flatten() {
                            let expected = [ErrorKind::Encode, ErrorKind::Decode];
                            assert!(expected.contains(&error.kind()), "{free}: {error:?}");
                        }
                    }
                    drop(shortage);
                    // The worker is the same as before, and its memory for large values is usable again.
                    for byte in 0..6 {
                        let bytes = within(pool.run(echo, made(byte, len))).await.unwrap();
                        assert_eq!(bytes, made(byte, len));
                    }
                    assert_eq!(pool.metrics().crashed(), 0);
                    within(pool.shutdown()).await;
                }
            }
        },
    )
    .await;
}
