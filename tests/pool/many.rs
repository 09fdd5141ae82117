//! Many pools, pools inside workers, and many tasks.

use std::collections::HashSet;

use futures::future::join_all;
use procession::Pool;

use crate::deadline::{self, until, within, within_limit};
use crate::leftovers::alone;
use crate::leftovers::processes::descendants;
use crate::notes::{Board, Notes};
use crate::pools::all_idle;
use crate::tasks::{busy, pid};

async fn nested(notes: Notes) -> Vec<u64> {
    let pool = Pool::with_workers(2).unwrap();
    let pids = pool.map(|n: u64| (n * n, pid()), 0..20_u64).await.unwrap();
    let workers: HashSet<_> = pids.iter().map(|(_, pid)| *pid).collect();
    assert!(!workers.contains(&pid()));
    notes.write("nested", workers.len());
    pids.into_iter().map(|(square, _)| square).collect()
}

async fn nested_and_held(notes: Notes) {
    let pool = Pool::with_workers(2).unwrap();
    let inner = pool.spawn(busy, notes.clone());
    let other = pool.spawn(busy, notes);
    let _ = inner.await;
    let _ = other.await;
}

#[procession::test]
async fn pool_inside_a_worker_ends_with_that_worker() {
    alone("many::pool_inside_a_worker_ends_with_that_worker", async {
        let board = Board::new();
        let pool = Pool::with_workers(2).unwrap();
        let squares: Vec<u64> = (0..20).map(|n| n * n).collect();
        for _ in 0..2 {
            assert_eq!(
                within(pool.run(nested, board.notes())).await.unwrap(),
                squares
            );
        }
        let handle = pool.spawn(nested_and_held, board.notes());
        board.lines("busy", 2).await;
        assert!(descendants().len() >= 4);
        handle.abort();
        assert!(within(handle).await.unwrap_err().is_cancelled());
        all_idle(&pool, 2).await;
        until(|| descendants().len() == 2).await;
    })
    .await;
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn pools_work_a_hundred_at_a_time() {
    alone("many::pools_work_a_hundred_at_a_time", async {
        let pools = (0..100_u64).map(|n| {
            tokio::spawn(async move {
                let pool = Pool::with_workers(1).unwrap();
                let squares = pool.map(|n: u64| n * n, n..n + 3).await.unwrap();
                assert_eq!(squares, [n * n, (n + 1) * (n + 1), (n + 2) * (n + 2)]);
                match n % 3 {
                    0 => drop(pool.shutdown().await),
                    1 => drop(pool.terminate().await),
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
async fn pool_finishes_twenty_thousand_queued_tasks() {
    let pool = Pool::with_workers(2).unwrap();
    let handles: Vec<_> = (0..20_000_u64).map(|n| pool.spawn(|n: u64| n, n)).collect();
    let outcomes = within_limit(2 * deadline::LIMIT, join_all(handles)).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(outcome.unwrap(), n as u64);
    }
    assert_eq!(pool.metrics().completed(), 20_000);
}
