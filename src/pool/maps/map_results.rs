//! Collects the outcomes of a map's items until the map's reader takes them.
//!
//! Lives in the parent, shared by the map, its batches and the driver that delivers to them. Must stay true:
//! the reader is woken after every delivery, outside the lock.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use crate::call::job::GroupId;
use crate::error::JoinError;
use crate::schedule::MeanTime;

/// The share of the newest batch in the mean run time. It is large, because a map has few batches.
const NEWEST_BATCH_SHARE: f64 = 0.5;

/// Outcomes of consecutive items.
pub(in crate::pool) type Span<R> = Vec<Result<R, JoinError>>;

/// The outcomes that batches have delivered and the reader has not taken.
pub(in crate::pool) struct MapResults<R> {
    group: GroupId,
    collected: Mutex<Collected<R>>,
}

struct Collected<R> {
    /// By the index of their first item.
    spans: BTreeMap<usize, Span<R>>,
    /// The number of outcomes delivered so far, taken or not.
    finished: usize,
    /// The first failure in the order of time.
    failure: Option<JoinError>,
    waker: Option<Waker>,
    /// How long an item runs, averaged over the last few batches.
    mean: MeanTime,
}

/// What [`MapResults::take`] found, which says what the reader does next.
pub(in crate::pool) enum Take<R> {
    Span(Span<R>),
    /// No span to take, but new outcomes: they may make room for more input.
    ReadMore,
    /// Nothing new: the reader will be woken.
    Wait,
}

impl<R> MapResults<R> {
    pub(in crate::pool) fn new() -> Self {
        Self {
            group: GroupId::unique(),
            collected: Mutex::new(Collected {
                spans: BTreeMap::new(),
                finished: 0,
                failure: None,
                waker: None,
                mean: MeanTime::new(NEWEST_BATCH_SHARE),
            }),
        }
    }

    /// The group of the map's tasks.
    pub(in crate::pool) fn group(&self) -> GroupId {
        self.group
    }

    /// Adds outcomes from the item at `first` on. `ran` is how long they ran, if they did.
    pub(in crate::pool) fn add(&self, first: usize, span: Span<R>, ran: Option<Duration>) {
        if span.is_empty() {
            return;
        }
        let mut collected = self.lock();
        if let Some(ran) = ran {
            collected.mean.add(ran, span.len());
        }
        if collected.failure.is_none() {
            let failure = span.iter().find_map(|outcome| outcome.as_ref().err());
            collected.failure = failure.cloned();
        }
        collected.finished += span.len();
        collected.spans.insert(first, span);
        let waker = collected.waker.take();
        drop(collected);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes the span that begins with the item at `next`, or any span if `next` is `None`. If there is none,
    /// registers the reader to be woken at the next delivery. `seen` is the number of outcomes that the reader
    /// knows of.
    pub(in crate::pool) fn take(
        &self,
        next: Option<usize>,
        seen: usize,
        cx: &Context<'_>,
    ) -> Take<R> {
        // Cloning a waker and dropping one runs code of the executor, so the lock is not held.
        let waker = cx.waker().clone();
        let mut collected = self.lock();
        let span = match next {
            Some(next) => collected.spans.remove(&next),
            None => collected.spans.pop_first().map(|(_, span)| span),
        };
        if let Some(span) = span {
            return Take::Span(span);
        }
        let replaced = collected.waker.replace(waker);
        let has_more = collected.finished > seen;
        drop(collected);
        drop(replaced);
        match has_more {
            true => Take::ReadMore,
            false => Take::Wait,
        }
    }

    /// The first failure in the order of time.
    pub(in crate::pool) fn failure(&self) -> Option<JoinError> {
        self.lock().failure.clone()
    }

    /// The number of outcomes delivered so far, taken or not.
    pub(in crate::pool) fn finished(&self) -> usize {
        self.lock().finished
    }

    /// The number of outcomes delivered so far, and how long an item runs.
    pub(in crate::pool) fn progress(&self) -> (usize, MeanTime) {
        let collected = self.lock();
        (collected.finished, collected.mean)
    }

    fn lock(&self) -> MutexGuard<'_, Collected<R>> {
        self.collected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
