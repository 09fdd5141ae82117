//! Many pools, pools in workers, and many tasks.

use std::collections::HashSet;

use futures::future::join_all;
use procession::Pool;

use crate::deadline::{self, until, within, within_limit};
use crate::leftovers::{alone, descendants};
use crate::notes::{Board, Desk};
use crate::pools::all_idle;
use crate::tasks::{busy, pid};

async fn nested(desk: Desk) -> Vec<u64> {
    let pool = Pool::with_workers(2).unwrap();
    let pids = pool.map(|n: u64| (n * n, pid()), 0..20_u64).await.unwrap();
    let workers: HashSet<_> = pids.iter().map(|(_, pid)| *pid).collect();
    assert!(!workers.contains(&pid()));
    desk.write("nested", workers.len());
    pids.into_iter().map(|(square, _)| square).collect()
}

async fn nested_and_held(desk: Desk) {
    let pool = Pool::with_workers(2).unwrap();
    let inner = pool.spawn(busy, desk.clone());
    let other = pool.spawn(busy, desk);
    let _ = inner.await;
    let _ = other.await;
}

#[procession::test]
async fn pools_nest_and_the_inner_ones_end_with_the_outer() {
    alone(
        "many::pools_nest_and_the_inner_ones_end_with_the_outer",
        async {
            let board = Board::new();
            let pool = Pool::with_workers(2).unwrap();
            let squares: Vec<u64> = (0..20).map(|n| n * n).collect();
            for _ in 0..2 {
                assert_eq!(
                    within(pool.run(nested, board.desk())).await.unwrap(),
                    squares
                );
            }
            let handle = pool.spawn(nested_and_held, board.desk());
            board.lines("busy", 2).await;
            assert!(descendants().len() >= 4);
            handle.abort();
            assert!(within(handle).await.unwrap_err().is_cancelled());
            all_idle(&pool, 2).await;
            until(|| descendants().len() == 2).await;
        },
    )
    .await;
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_pools_at_once() {
    alone("many::a_hundred_pools_at_once", async {
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
