//! `on_progress`, `size_hint`, and a `next` that is dropped.

use std::collections::BTreeMap;
use std::sync::Mutex;

use futures::Stream as _;
use futures::stream::StreamExt as _;

use crate::deadline::within;
use crate::map::{all, fails_at_three, square, squares};
use crate::pools::ready;

#[procession::test]
async fn on_progress_is_called_up_to_the_end() {
    let pool = ready(2).await;
    let told = Mutex::new(Vec::new());
    let tell = |done, total| told.lock().unwrap().push((done, total));
    let results = within(pool.map(square, 0..500).on_progress(tell)).await;
    assert_eq!(results.unwrap(), squares(500));
    let seen = std::mem::take(&mut *told.lock().unwrap());
    assert!(seen.is_sorted_by(|a, b| a.0 < b.0), "{seen:?}");
    assert!(seen.iter().all(|(_, total)| *total == Some(500)));
    assert_eq!(seen.last(), Some(&(500, Some(500))));
    // An input of unknown length, with items that fail.
    let items = (0..500).filter(|n| n % 2 == 1);
    let outcomes = all(pool.map(fails_at_three, items).on_progress(tell)).await;
    assert_eq!(outcomes.len(), 250);
    let seen = std::mem::take(&mut *told.lock().unwrap());
    // The total is known once the whole input has been read.
    assert!(
        seen.iter()
            .all(|(_, total)| matches!(total, None | Some(250)))
    );
    assert_eq!(seen.last(), Some(&(250, Some(250))));
}

#[procession::test]
async fn map_size_hint_counts_the_items_left() {
    let pool = ready(1).await;
    let mut map = pool.map(square, 0..50);
    for left in (0..50).rev() {
        assert_eq!(map.size_hint(), (left + 1, Some(left + 1)));
        within(map.next()).await.unwrap().unwrap();
    }
    assert_eq!(map.size_hint(), (0, Some(0)));
}

#[procession::test]
async fn map_next_that_is_dropped_loses_nothing() {
    let pool = ready(2).await;
    let mut map = pool.map(square, 0..2_000);
    let mut results = BTreeMap::new();
    loop {
        tokio::select! {
            biased;
            () = tokio::task::yield_now() => {}
            outcome = map.next() => match outcome {
                Some(outcome) => results.insert(results.len() as u64, outcome.unwrap()),
                None => break,
            }.map_or((), |_| panic!("twice")),
        }
    }
    assert_eq!(results.into_values().collect::<Vec<_>>(), squares(2_000));
}
