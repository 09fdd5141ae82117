//! A pool that is used in other runtimes than its own, also while its own is not driven, and without Tokio.

#![allow(
    clippy::async_yields_async,
    reason = "the handles outlive the runtimes"
)]

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures::future::join_all;
use procession::{ErrorKind, Pool, StartMethod};
use serde_bytes::ByteBuf;
use tokio::runtime::{Builder, Runtime};

use crate::deadline::within;
use crate::executor::{assert_at_rest, block_on, block_on_thread};
use crate::leftovers::alone;
use crate::notes::{Board, Notes};
use crate::{echo, made};

fn current_thread() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

/// Runs `test` on a thread that is not the runtime's.
async fn on_thread(test: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(test).await.unwrap();
}

fn undriven(workers: usize, method: StartMethod) -> (Runtime, Pool) {
    let runtime = current_thread();
    let builder = Pool::builder().workers(workers).start_method(method);
    let pool = runtime.block_on(async { builder.build().unwrap() });
    (runtime, pool)
}

const BOTH_METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Exec];

fn abort() {
    std::process::abort()
}

/// Uses what needs the driver: starts, replies, ends of workers, time.
async fn use_all(pool: &Pool) {
    let runs = (0..50_u64).map(|n| pool.run(|n: u64| n + 1, n));
    for (n, outcome) in (0..).zip(within(join_all(runs)).await) {
        assert_eq!(outcome.unwrap(), n + 1);
    }
    let mapped = within(pool.map(|n: u64| n, 0..2_000)).await.unwrap();
    assert!(mapped.into_iter().eq(0..2_000));
    let large = within(pool.spawn(echo, made(3, 2 << 20))).await.unwrap();
    assert_eq!(large, made(3, 2 << 20));
    let crash = pool.run(abort, ());
    let error = within(crash).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Crashed, "{error}");
    let sleep = || std::thread::sleep(Duration::from_secs(60));
    let slow = pool.run(sleep, ()).timeout(Duration::from_millis(50));
    assert_eq!(within(slow).await.unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(within(pool.run(|n: u64| n, 5)).await.unwrap(), 5);
}

#[procession::test]
async fn pool_of_an_undriven_runtime_is_driven_where_it_is_used() {
    let test = "runtimes::pool_of_an_undriven_runtime_is_driven_where_it_is_used";
    alone(test, async {
        on_thread(|| {
            for method in BOTH_METHODS {
                let (runtime, pool) = undriven(2, method);
                // A runtime for each test.
                for _ in 0..3 {
                    current_thread().block_on(use_all(&pool));
                }
                current_thread().block_on(async { within(pool.shutdown()).await });
                let error = current_thread().block_on(async { within(pool.run(|| 1, ())).await });
                assert!(error.unwrap_err().is_closed());
                drop(runtime);
            }
        })
        .await;
    })
    .await;
}

/// As a static pool: whichever user comes first builds it, in a runtime that is kept.
#[procession::test]
async fn shared_pool_is_used_by_runtimes_side_by_side() {
    let test = "runtimes::shared_pool_is_used_by_runtimes_side_by_side";
    alone(test, async {
        let shared = Arc::<OnceLock<(Mutex<Runtime>, Pool)>>::default();
        let users = (0..4).map(|_| {
            let shared = Arc::clone(&shared);
            on_thread(move || {
                let (_, pool) = shared.get_or_init(|| {
                    let (runtime, pool) = undriven(2, StartMethod::ForkServer);
                    (Mutex::new(runtime), pool)
                });
                current_thread().block_on(use_all(pool));
            })
        });
        join_all(users).await;
        within(shared.get().unwrap().1.shutdown()).await;
        on_thread(move || drop(shared)).await;
    })
    .await;
}

/// The pool has run in its runtime, which then is not driven, is driven again, and ends.
#[procession::test]
async fn runtime_of_a_pool_is_driven_now_and_then() {
    let test = "runtimes::runtime_of_a_pool_is_driven_now_and_then";
    alone(test, async {
        on_thread(|| {
            let (runtime, pool) = undriven(2, StartMethod::ForkServer);
            runtime.block_on(use_all(&pool));
            let board = Board::new();
            let meet = |notes: Notes| {
                notes.meet("began", "go on");
                7
            };
            let held = runtime.block_on(async { pool.spawn(meet, board.notes()) });
            runtime.block_on(board.lines("began", 1));
            for _ in 0..2 {
                current_thread().block_on(use_all(&pool));
                runtime.block_on(use_all(&pool));
            }
            let waiting = block_on_thread(held);
            std::thread::sleep(Duration::from_millis(300));
            board.write("go on", 1);
            assert_eq!(waiting.join().unwrap().unwrap(), 7);
            let never = Board::new();
            let waiting = block_on_thread(pool.spawn(meet, never.notes()));
            std::thread::sleep(Duration::from_millis(50));
            drop(runtime);
            let error = waiting.join().unwrap().unwrap_err();
            assert!(error.is_closed(), "{error}");
            assert!(
                error.to_string().contains("in which the pool lived"),
                "{error}"
            );
            let later = current_thread().block_on(async { within(pool.run(|| 1, ())).await });
            let error = later.unwrap_err();
            assert!(error.is_closed() && !error.started(), "{error}");
            assert!(
                error.to_string().contains("in which the pool lived"),
                "{error}"
            );
        })
        .await;
    })
    .await;
}

/// The pool's runtime is driven, or not; the task waits in another executor.
#[procession::test]
async fn waiting_for_a_pool_elsewhere_uses_no_processor() {
    let test = "runtimes::waiting_for_a_pool_elsewhere_uses_no_processor";
    alone(test, async {
        let board = Board::new();
        let wait = |notes: Notes| {
            notes.meet("waits", "go on");
            ByteBuf::from(vec![1; 1 << 20])
        };
        let driven = Pool::with_workers(1).unwrap();
        let waiting = (driven.spawn(wait, board.notes()), board.notes());
        let test = move || {
            let (held, notes) = waiting;
            let (_runtime, pool) = undriven(1, StartMethod::ForkServer);
            let first = block_on_thread(held);
            let second = block_on_thread(pool.run(wait, notes));
            let third = pool.clone();
            let third = std::thread::spawn(move || {
                let mapped = async { within(third.map(|n: u32| n, 0..10)).await };
                current_thread().block_on(mapped)
            });
            current_thread().block_on(board.lines("waits", 2));
            assert_at_rest();
            board.write("go on", 1);
            assert_eq!(first.join().unwrap().unwrap().len(), 1 << 20);
            assert_eq!(second.join().unwrap().unwrap().len(), 1 << 20);
            assert_eq!(third.join().unwrap().unwrap().len(), 10);
            block_on(pool.shutdown());
        };
        on_thread(test).await;
        within(driven.shutdown()).await;
    })
    .await;
}
