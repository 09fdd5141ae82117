//! A pool at the limits of its machine: no descriptors, many pools, sizes around those of its buffers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod deadline;
mod leftovers;

use std::fs::File;
use std::time::Duration;

use deadline::{until, within, within_limit};
use futures::StreamExt as _;
use futures::future::join_all;
use leftovers::{alone, descriptors, mappings};
use procession::{ErrorKind, Pool, WorkerState};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use serde_bytes::ByteBuf;

fn pid() -> u32 {
    std::process::id()
}

fn echo(bytes: ByteBuf) -> ByteBuf {
    bytes
}

fn length(bytes: ByteBuf) -> usize {
    bytes.len()
}

fn made(byte: u8, len: usize) -> ByteBuf {
    ByteBuf::from(vec![byte; len])
}

fn kill_all(pool: &Pool) {
    for worker in pool.workers() {
        if let Some(pid) = worker.pid() {
            let pid = Pid::from_raw(pid.cast_signed()).unwrap();
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

async fn all_idle(pool: &Pool, workers: usize) {
    until(|| {
        let infos = pool.workers();
        infos.len() == workers && infos.iter().all(|it| it.state() == WorkerState::Idle)
    })
    .await;
}

// ---- descriptors -------------------------------------------------------------------------------

/// Takes all descriptors of this process but a few, as long as it lives.
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

/// So many are enough for everything that is done here, and soon taken.
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
    // Workers that are missing are started with the next task once it is worth another try.
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
async fn workers_that_cannot_be_started_for_want_of_descriptors() {
    alone(
        "workers_that_cannot_be_started_for_want_of_descriptors",
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
async fn a_pool_that_is_built_while_descriptors_are_short() {
    alone("a_pool_that_is_built_while_descriptors_are_short", async {
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
    })
    .await;
}

#[procession::test]
async fn large_values_while_descriptors_are_short() {
    alone("large_values_while_descriptors_are_short", async {
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
                // The same worker, and nothing that it sent is lost for good.
                for byte in 0..6 {
                    let bytes = within(pool.run(echo, made(byte, len))).await.unwrap();
                    assert_eq!(bytes, made(byte, len));
                }
                assert_eq!(pool.metrics().crashed(), 0);
                within(pool.shutdown()).await;
            }
        }
    })
    .await;
}

// ---- many --------------------------------------------------------------------------------------

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_pools_at_once() {
    alone("a_hundred_pools_at_once", async {
        let pools = (0..100_u64).map(|n| {
            tokio::spawn(async move {
                let pool = Pool::with_workers(1).unwrap();
                let squares = pool.map(|n: u64| n * n, n..n + 3).await.unwrap();
                assert_eq!(squares, [n * n, (n + 1) * (n + 1), (n + 2) * (n + 2)]);
                match n % 3 {
                    0 => pool.shutdown().await,
                    1 => pool.terminate().await,
                    _ => drop(pool),
                }
            })
        });
        let pools = within_limit(2 * deadline::LIMIT, join_all(pools)).await;
        for pool in pools {
            pool.unwrap();
        }
    })
    .await;
}

#[procession::test]
async fn many_queued_tasks_are_all_done() {
    let pool = Pool::with_workers(2).unwrap();
    let handles: Vec<_> = (0..20_000_u64).map(|n| pool.spawn(|n: u64| n, n)).collect();
    let outcomes = within_limit(2 * deadline::LIMIT, join_all(handles)).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(outcome.unwrap(), n as u64);
    }
    assert_eq!(pool.metrics().completed(), 20_000);
}

// ---- sizes -------------------------------------------------------------------------------------

/// Lengths around everything that could be a boundary: of a frame, a ring, a page, a parcel.
fn lengths() -> impl Iterator<Item = usize> {
    let small = 0..300;
    let around = [4096, 65_536, 131_072, 262_144, 524_288, 1 << 20];
    let around = around
        .into_iter()
        .flat_map(|at| (at - 130..at + 20).step_by(3));
    small.chain(around)
}

#[procession::test]
async fn values_of_every_length_come_and_go() {
    let pool = Pool::with_workers(2).unwrap();
    for chunk in [None, Some(1), Some(30)] {
        let items = lengths().enumerate();
        let items = items.map(|(n, len)| made(n as u8, len));
        let map = pool.map(echo, items);
        let mut map = match chunk {
            Some(chunk) => map.chunk_size(chunk),
            None => map,
        };
        for (n, len) in lengths().enumerate() {
            let bytes = within(map.next()).await.unwrap().unwrap();
            assert_eq!(bytes.len(), len);
            assert!(bytes.iter().all(|&byte| byte == n as u8), "{len}");
        }
        assert!(within(map.next()).await.is_none());
    }
    assert_eq!(pool.metrics().crashed(), 0);
}

#[procession::test]
async fn memory_for_huge_results_is_given_back() {
    alone("memory_for_huge_results_is_given_back", async {
        let pool = Pool::with_workers(1).unwrap();
        within(pool.run(made, (1, 1 << 20))).await.unwrap();
        let before = mappings();
        // Larger than what is kept to be used again.
        let len = (256 << 20) + 1;
        for byte in 0..3 {
            let bytes = within(pool.run(made, (byte, len))).await.unwrap();
            assert!(bytes.len() == len && bytes[len - 1] == byte);
        }
        // The last one is given up with the next that comes.
        assert!(mappings() <= before + 1, "{} after {before}", mappings());
        within(pool.shutdown()).await;
    })
    .await;
}

#[procession::test]
async fn memory_for_large_values_is_given_back_after_a_while() {
    alone(
        "memory_for_large_values_is_given_back_after_a_while",
        async {
            let pool = Pool::with_workers(2).unwrap();
            all_idle(&pool, 2).await;
            let before = mappings();
            let runs = (0..10).map(|byte| pool.run(echo, made(byte, 1 << 20)));
            within(join_all(runs)).await;
            assert!(mappings() > before);
            // Twice five seconds; meanwhile nobody does anything.
            until(|| mappings() == before).await;
            let bytes = within(pool.run(echo, made(7, 1 << 20))).await.unwrap();
            assert_eq!(bytes, made(7, 1 << 20));
            within(pool.shutdown()).await;
        },
    )
    .await;
}
