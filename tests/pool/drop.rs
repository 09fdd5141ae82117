//! The end of a pool without a shutdown: its last handle is dropped, or its runtime ends.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use procession::{ErrorKind, Pool};
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;

use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::leftovers::processes::descendants;
use crate::notes::Board;
use crate::pools::ready;
use crate::tasks::{busy, held};
use crate::{LONG, add, kinds};

#[procession::test]
async fn pool_dropped_inside_a_runtime_ends_its_workers() {
    alone(
        "drop::pool_dropped_inside_a_runtime_ends_its_workers",
        async {
            let board = Board::new();
            let pool = ready(2).await;
            drop(pool.spawn(busy, board.notes()));
            board.lines("busy", 1).await;
            let clone = pool.clone();
            drop(pool);
            assert_eq!(within(clone.run(add, (1, 1))).await.unwrap(), 2);
            drop(clone);
            until(|| descendants().is_empty()).await;
        },
    )
    .await;
}

#[procession::test]
async fn task_handle_keeps_the_pool_and_a_detached_task_does_not() {
    alone(
        "drop::task_handle_keeps_the_pool_and_a_detached_task_does_not",
        async {
            let board = Board::new();
            let pool = ready(2).await;
            let kept = pool.spawn(held, (board.notes(), "kept".to_owned()));
            drop(pool.spawn(held, (board.notes(), "detached".to_owned())));
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
            let mut run = pool.run(held, (board.notes(), "run".to_owned()));
            assert!(futures::poll!(&mut run).is_pending());
            drop(pool.spawn(busy, board.notes()));
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
async fn pool_dropped_outside_a_runtime_ends_its_workers() {
    alone(
        "drop::pool_dropped_outside_a_runtime_ends_its_workers",
        async {
            let board = Board::new();
            let notes = board.notes();
            let outside = std::thread::spawn(move || {
                // A multi-thread runtime runs on outside `block_on`; a current-thread runtime does not.
                for threads in [1, 0] {
                    let runtime = match threads {
                        0 => Builder::new_current_thread().enable_all().build().unwrap(),
                        _ => Builder::new_multi_thread().enable_all().build().unwrap(),
                    };
                    let pool = runtime.block_on(async {
                        let pool = ready(2).await;
                        drop(pool.spawn(busy, notes.clone()));
                        pool
                    });
                    drop(pool);
                    drop(runtime);
                }
            });
            until(|| outside.is_finished()).await;
            outside.join().unwrap();
        },
    )
    .await;
}

/// A pool whose runtime is in a thread of its own. The runtime ends when the sender sends or is dropped.
fn pool_in_another_runtime(
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
async fn pool_whose_runtime_ended_fails_every_future_as_closed() {
    alone(
        "drop::pool_whose_runtime_ended_fails_every_future_as_closed",
        async {
            let board = Board::new();
            let (pool, end, thread) = pool_in_another_runtime(4);
            assert_eq!(within(pool.run(add, (1, 1))).await.unwrap(), 2);
            let handles: Vec<_> = (0..20).map(|_| pool.spawn(busy, board.notes())).collect();
            let large = pool.spawn(|text: String| text.len(), "x".repeat(1 << 20));
            let mapped = tokio::spawn({
                let (pool, notes) = (pool.clone(), board.notes());
                async move { pool.map(busy, std::iter::repeat(notes)).await }
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

/// Its decoding blocks until `MAY_BE_DECODED` is set.
#[derive(Debug, Serialize)]
struct Slow(String);

static DECODINGS: AtomicU64 = AtomicU64::new(0);
static MAY_BE_DECODED: AtomicBool = AtomicBool::new(false);

impl<'de> Deserialize<'de> for Slow {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DECODINGS.fetch_add(1, Ordering::SeqCst);
        while !MAY_BE_DECODED.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Self(String::deserialize(deserializer)?))
    }
}

#[procession::test]
async fn result_that_is_being_decoded_when_the_runtime_ends_arrives() {
    alone(
        "drop::result_that_is_being_decoded_when_the_runtime_ends_arrives",
        async {
            let (pool, end, thread) = pool_in_another_runtime(1);
            let handles: Vec<_> = (0..4)
                .map(|_| pool.spawn(|| Slow("x".repeat(1 << 20)), ()))
                .collect();
            // The threads that decode are not the runtime's.
            until(|| DECODINGS.load(Ordering::SeqCst) >= 1 && pool.metrics().running() == 0).await;
            end.send(()).unwrap();
            until(|| thread.is_finished()).await;
            MAY_BE_DECODED.store(true, Ordering::SeqCst);
            for outcome in within(join_all(handles)).await {
                assert_eq!(outcome.unwrap().0.len(), 1 << 20);
            }
            thread.join().unwrap();
        },
    )
    .await;
}
