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

/// Outcomes of consecutive items.
pub(super) type Span<R> = Vec<Result<R, JoinError>>;

/// The outcomes that batches have delivered and the reader has not taken.
pub(super) struct MapResults<R> {
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
    /// How long an item runs, averaged over the last few batches; 0 before the first.
    mean_nanos: f64,
}

/// What [`MapResults::take`] found, which says what the reader does next.
pub(super) enum Take<R> {
    Span(Span<R>),
    /// No span to take, but new outcomes: they may make room for more input.
    ReadMore,
    /// Nothing new: the reader will be woken.
    Wait,
}

impl<R> MapResults<R> {
    pub(super) fn new() -> Self {
        Self {
            group: GroupId::unique(),
            collected: Mutex::new(Collected {
                spans: BTreeMap::new(),
                finished: 0,
                failure: None,
                waker: None,
                mean_nanos: 0.0,
            }),
        }
    }

    /// The group of the map's tasks.
    pub(super) fn group(&self) -> GroupId {
        self.group
    }

    /// Adds outcomes from the item at `first` on. `ran` is how long they ran, if they did.
    pub(super) fn add(&self, first: usize, span: Span<R>, ran: Option<Duration>) {
        if span.is_empty() {
            return;
        }
        let mut collected = self.lock();
        if let Some(ran) = ran {
            collected.average(ran.as_nanos() as f64 / span.len() as f64);
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
    pub(super) fn take(&self, next: Option<usize>, seen: usize, cx: &Context<'_>) -> Take<R> {
        let mut collected = self.lock();
        let span = match next {
            Some(next) => collected.spans.remove(&next),
            None => collected.spans.pop_first().map(|(_, span)| span),
        };
        if let Some(span) = span {
            return Take::Span(span);
        }
        match &mut collected.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        match collected.finished > seen {
            true => Take::ReadMore,
            false => Take::Wait,
        }
    }

    /// The first failure in the order of time.
    pub(super) fn failure(&self) -> Option<JoinError> {
        self.lock().failure.clone()
    }

    /// The number of outcomes delivered so far, taken or not.
    pub(super) fn finished(&self) -> usize {
        self.lock().finished
    }

    /// The number of outcomes delivered so far, and how long an item runs on average, once an item has run.
    pub(super) fn progress(&self) -> (usize, Option<Duration>) {
        let collected = self.lock();
        let nanos = collected.mean_nanos;
        let mean = (nanos > 0.0).then(|| Duration::from_nanos(nanos as u64));
        (collected.finished, mean)
    }

    fn lock(&self) -> MutexGuard<'_, Collected<R>> {
        self.collected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> Collected<R> {
    fn average(&mut self, nanos: f64) {
        let nanos = nanos.max(1.0);
        self.mean_nanos = match self.mean_nanos {
            0.0 => nanos,
            mean => mean.mul_add(0.5, nanos * 0.5),
        };
    }
}
