//! The order in which results come out.

use std::collections::HashSet;
use std::time::Duration;

use futures::stream::StreamExt as _;
use procession::Pool;

use crate::deadline::within;
use crate::map::{all, square, squares};
use crate::notes::{Board, Notes};
use crate::pools::ready;

#[procession::test]
async fn map_results_are_in_input_order() {
    let pool = Pool::with_workers(2).unwrap();
    for n in [1, 2, 3, 100, 10_000] {
        assert_eq!(within(pool.map(square, 0..n)).await.unwrap(), squares(n));
    }
    let uneven = |n: u64| {
        if n % 7 == 0 {
            std::thread::sleep(Duration::from_millis(n % 3));
        }
        n
    };
    let outcomes = all(pool.map(uneven, 0..300)).await;
    let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes, (0..300).collect::<Vec<_>>());
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn maps_run_concurrently_on_a_multi_thread_runtime() {
    let pool = Pool::with_workers(2).unwrap();
    let maps = (0..4).map(|_| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.map(square, 0..3_000).await.unwrap() })
    });
    for results in within(futures::future::join_all(maps)).await {
        assert_eq!(results.unwrap(), squares(3_000));
    }
    assert_eq!(pool.metrics().completed(), 12_000);
}

#[procession::test]
async fn unordered_yields_outcomes_as_items_finish() {
    let board = Board::new();
    let pool = ready(2).await;
    let item = |notes: Notes, n: usize| {
        if n == 0 {
            notes.wait("go");
        }
        n
    };
    let items = (0..20).map(|n| (board.notes(), n));
    let mut map = pool.map(item, items.clone()).unordered().chunk_size(1);
    let mut seen = Vec::new();
    while seen.len() < 19 {
        seen.push(within(map.next()).await.unwrap().unwrap());
    }
    assert!(!seen.contains(&0));
    board.write("go", 1);
    assert_eq!(within(map.next()).await.unwrap().unwrap(), 0);
    assert!(within(map.next()).await.is_none());
    let mut results = within(pool.map(item, items).unordered()).await.unwrap();
    results.sort_unstable();
    assert_eq!(results, (0..20).collect::<Vec<_>>());
}

#[procession::test]
async fn unordered_long_item_does_not_delay_short_items() {
    // For several places of the long item, with fixed and with chosen chunk sizes.
    for (chunk, long) in [(Some(50), 0), (Some(50), 77), (None, 1_234), (None, 4_999)] {
        let board = Board::new();
        let pool = ready(2).await;
        let item = |notes: Option<Notes>, n: u64| {
            if let Some(notes) = notes {
                notes.meet("long", "go");
            }
            n
        };
        let items = (0..5_000).map(|n| ((n == long).then(|| board.notes()), n));
        let mut map = pool.map(item, items).unordered();
        if let Some(chunk) = chunk {
            map = map.chunk_size(chunk);
        }
        let mut seen = HashSet::new();
        while seen.len() < 4_999 {
            seen.insert(within(map.next()).await.unwrap().unwrap());
        }
        assert!(!seen.contains(&long));
        board.write("go", 1);
        assert_eq!(within(map.next()).await.unwrap().unwrap(), long);
    }
}
