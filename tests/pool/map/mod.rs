//! `Pool::map` and `Pool::map_stream`: one file for each topic.
//!
//! This file has what several topics use.

mod collect_all;
mod failures;
mod input;
mod item;
mod order;
mod progress;
mod values;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::stream::StreamExt as _;
use procession::{JoinError, Map};

use crate::deadline::within;

pub(crate) fn square(n: u64) -> u64 {
    n * n
}

pub(crate) fn squares(n: u64) -> Vec<u64> {
    (0..n).map(square).collect()
}

/// Every outcome of the map.
pub(crate) async fn all<R>(mut map: Map<'_, R>) -> Vec<Result<R, JoinError>> {
    let mut outcomes = Vec::new();
    while let Some(outcome) = within(map.next()).await {
        outcomes.push(outcome);
    }
    // A map that has ended stays at its end.
    assert!(within(map.next()).await.is_none());
    outcomes
}

/// An iterator that counts the items it has given.
pub(crate) fn counted<I: Iterator>(items: I) -> (Arc<AtomicUsize>, impl Iterator<Item = I::Item>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let items = items.inspect(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    (count, items)
}

pub(crate) fn read(count: &AtomicUsize) -> usize {
    count.load(Ordering::Relaxed)
}

pub(crate) fn fails_at_three(n: u64) -> u64 {
    assert!(n != 3, "three");
    n
}
