//! The end of a pool without a shutdown: its last handle is dropped, or its runtime ends.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use procession::{ErrorKind, JoinError, Pool};
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;

use crate::deadline::{until, within};
use crate::leftovers::{alone, descendants};
use crate::notes::Board;
use crate::pools::ready;
use crate::tasks::{busy, held};
use crate::{LONG, add, kinds};

#[procession::test]
async fn dropping_a_pool_inside_a_runtime_ends_it() {
    alone("drop::dropping_a_pool_inside_a_runtime_ends_it", async {
        let board = Board::new();
        let pool = ready(2).await;
        drop(pool.spawn(busy, board.desk()));
        board.lines("busy", 1).await;
        let clone = pool.clone();
        drop(pool);
        assert_eq!(within(clone.run(add, (1, 1))).await.unwrap(), 2);
        drop(clone);
        until(|| descendants().is_empty()).await;
    })
    .await;
}

#[procession::test]
async fn a_handle_keeps_the_pool_and_a_detached_task_does_not() {
    alone(
        "drop::a_handle_keeps_the_pool_and_a_detached_task_does_not",
        async {
            let board = Board::new();
            let pool = ready(2).await;
            let kept = pool.spawn(held, (board.desk(), "kept".to_owned()));
            drop(pool.spawn(held, (board.desk(), "detached".to_owned())));
            board.lines("kept", 1).await;
            board.lines("detached", 1).await;
            drop(pool);
            let workers = descendants();
            assert_eq!(workers.iter().filter(|it| !it.is_spare()).count(), 2);
            board.write("go", 1);
            within(kept).await.unwrap();
            until(|| descendants().is_empty()).await;

            let board = Board::new();
            let pool = ready(1).await;
            let mut run = pool.run(held, (board.desk(), "run".to_owned()));
            assert!(futures::poll!(&mut run).is_pending());
            drop(pool.spawn(busy, board.desk()));
            drop(pool);
            board.lines("run", 1).await;
            board.write("go", 1);
            within(run).await.unwrap();
            until(|| descendants().is_empty()).await;

            let mut map = ready(2).await.map(|n: u64| n, 0..);
            assert_eq!(within(map.next()).await.unwrap().unwrap(), 0);
            assert_eq!(within(map.next()).await.unwrap().unwrap(), 1);
            drop(map);
            until(|| descendants().is_empty()).await;
        },
    )
    .await;
}

#[procession::test]
async fn dropping_a_pool_outside_a_runtime_ends_it() {
    alone("drop::dropping_a_pool_outside_a_runtime_ends_it", async {
        let board = Board::new();
        let desk = board.desk();
        let outside = std::thread::spawn(move || {
            // One that goes on running, and one that does not.
            for threads in [1, 0] {
                let runtime = match threads {
                    0 => Builder::new_current_thread().enable_all().build().unwrap(),
                    _ => Builder::new_multi_thread().enable_all().build().unwrap(),
                };
                let pool = runtime.block_on(async {
                    let pool = ready(2).await;
                    drop(pool.spawn(busy, desk.clone()));
                    pool
                });
                drop(pool);
                drop(runtime);
            }
        });
        until(|| outside.is_finished()).await;
        outside.join().unwrap();
    })
    .await;
}

/// A runtime with a pool in it, in a thread that ends the runtime when it is told to.
fn elsewhere(
    blocking_threads: usize,
) -> (
    Pool,
    std::sync::mpsc::Sender<()>,
    std::thread::JoinHandle<()>,
) {
    let (give, take) = std::sync::mpsc::channel();
    let (end, ended) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(blocking_threads)
            .enable_all()
            .build()
            .unwrap();
        give.send(runtime.block_on(ready(2))).unwrap();
        let _ = ended.recv();
        runtime.shutdown_background();
    });
    (take.recv().unwrap(), end, thread)
}

#[procession::test]
async fn when_its_runtime_ends_what_is_awaited_elsewhere_is_closed() {
    alone(
        "drop::when_its_runtime_ends_what_is_awaited_elsewhere_is_closed",
        async {
            let board = Board::new();
            let (pool, end, thread) = elsewhere(4);
            assert_eq!(within(pool.run(add, (1, 1))).await.unwrap(), 2);
            let handles: Vec<_> = (0..20).map(|_| pool.spawn(busy, board.desk())).collect();
            let large = pool.spawn(|text: String| text.len(), "x".repeat(1 << 20));
            let mapped = tokio::spawn({
                let (pool, desk) = (pool.clone(), board.desk());
                async move { pool.map(busy, std::iter::repeat(desk)).await }
            });
            let shutdown = pool.shutdown_timeout(LONG);
            board.lines("busy", 2).await;
            end.send(()).unwrap();
            let outcomes = within(join_all(handles)).await;
            assert_eq!(kinds(&outcomes), [Some(ErrorKind::Closed); 20]);
            assert!(within(large).await.unwrap_err().is_closed());
            assert!(within(mapped).await.unwrap().unwrap_err().is_closed());
            within(shutdown).await;
            assert!(within(pool.run(add, (1, 1))).await.unwrap_err().is_closed());
            assert!(pool.workers().is_empty());
            thread.join().unwrap();
        },
    )
    .await;
}

/// Takes its time to be decoded by who awaits it.
#[derive(Debug, Serialize)]
struct Slow(String);

static DECODING: AtomicU64 = AtomicU64::new(0);

static DECODED: AtomicU64 = AtomicU64::new(0);

impl<'de> Deserialize<'de> for Slow {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DECODING.fetch_add(1, Ordering::SeqCst);
        while DECODED.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Self(String::deserialize(deserializer)?))
    }
}

#[procession::test]
async fn a_large_result_that_nobody_decodes_any_more_is_an_error() {
    alone(
        "drop::a_large_result_that_nobody_decodes_any_more_is_an_error",
        async {
            let (pool, end, thread) = elsewhere(1);
            let handles: Vec<_> = (0..4)
                .map(|_| pool.spawn(|| Slow("x".repeat(1 << 20)), ()))
                .collect();
            // One is being decoded on the only thread for that; the others, done too, wait for it.
            until(|| DECODING.load(Ordering::SeqCst) == 1 && pool.metrics().running() == 0).await;
            end.send(()).unwrap();
            until(|| thread.is_finished()).await;
            DECODED.store(1, Ordering::SeqCst);
            for outcome in within(join_all(handles)).await {
                let kind = outcome.as_ref().err().map(JoinError::kind);
                assert!(matches!(kind, None | Some(ErrorKind::Closed)), "{kind:?}");
            }
            thread.join().unwrap();
        },
    )
    .await;
}
