//! `task::seed`: which follows from the pool's seed and the place of the item.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use procession::{Pool, task};

use crate::deadline::within;
use crate::leftovers::processes::kill;
use crate::notes::{Board, Notes};
use crate::pools::ready;
use crate::tasks::pid;

fn draw(_: u32) -> u64 {
    task::seed()
}

async fn seeds(pool: &Pool, chunk: usize) -> Vec<u64> {
    within(pool.map(draw, 0..500).chunk_size(chunk))
        .await
        .unwrap()
}

#[procession::test]
async fn seed_follows_from_the_place_in_the_map_alone() {
    let pool = |workers, seed| Pool::builder().workers(workers).seed(seed).build().unwrap();
    let (one, three, other) = (pool(1, 7), pool(3, 7), pool(1, 8));
    let expected = seeds(&one, 1).await;
    assert_eq!(expected.iter().collect::<BTreeSet<_>>().len(), 500);
    for chunk in [1, 7, 500] {
        assert_eq!(seeds(&three, chunk).await, expected, "{chunk}");
    }
    assert_eq!(seeds(&one, 3).await, expected);
    assert_ne!(seeds(&other, 1).await, expected);
    // By default it is chosen by the pool.
    let unseeded = ready(1).await;
    assert_ne!(seeds(&unseeded, 1).await, expected);
    assert_eq!(seeds(&unseeded, 1).await, seeds(&unseeded, 9).await);
    let unordered: BTreeSet<_> = three
        .map(draw, 0..500)
        .unordered()
        .map(Result::unwrap)
        .collect()
        .await;
    assert_eq!(unordered, expected.iter().copied().collect());
    assert_eq!(within(one.run(draw, 0)).await.unwrap(), expected[0]);
}

#[procession::test]
async fn retried_item_has_the_seed_of_its_first_try() {
    let board = Board::new();
    let pool = Pool::builder().workers(2).seed(7).build().unwrap();
    let expected = seeds(&pool, 10).await;
    let crash_once = |notes: Notes, n: u32| {
        if n == 5 {
            notes.write("tries", task::seed());
            if notes.read("tries").len() == 1 {
                kill(pid());
            }
        }
        task::seed()
    };
    let items = (0..20).map(|n| (board.notes(), n));
    let retried = within(pool.map(crash_once, items).chunk_size(10).retries(1))
        .await
        .unwrap();
    assert_eq!(retried, expected[..20]);
    let tries = board.notes().read("tries");
    assert!(tries.len() == 2 && tries[0] == tries[1]);
}

#[procession::test]
async fn seed_outside_a_worker_is_another_each_time() {
    assert_ne!(task::seed(), task::seed());
}
