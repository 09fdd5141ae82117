//! Where the outcomes of a map come together.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use crate::error::JoinError;

/// Outcomes that lie next to each other in the input.
pub(super) type Stretch<R> = Vec<Result<R, JoinError>>;

/// What a map's batches leave and its reader takes.
pub(super) struct MapResults<R>(Mutex<State<R>>);

struct State<R> {
    /// By the index of their first item.
    stretches: BTreeMap<usize, Stretch<R>>,
    /// How many outcomes there have been.
    arrived: usize,
    failure: Option<JoinError>,
    waker: Option<Waker>,
    /// How long an item takes, averaged over the last few batches.
    mean_nanos: f64,
}

impl<R> MapResults<R> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            stretches: BTreeMap::new(),
            arrived: 0,
            failure: None,
            waker: None,
            mean_nanos: 0.0,
        }))
    }

    /// Adds outcomes from the item at `first` on. `ran` is how long they took, if they ran.
    pub(super) fn add(&self, first: usize, stretch: Stretch<R>, ran: Option<Duration>) {
        if stretch.is_empty() {
            return;
        }
        let mut state = self.lock();
        if let Some(ran) = ran {
            let each = ran.as_nanos() as f64 / stretch.len() as f64;
            state.mean_nanos = match state.mean_nanos {
                0.0 => each.max(1.0),
                mean => mean.mul_add(0.5, each.max(1.0) * 0.5),
            };
        }
        if state.failure.is_none() {
            let failure = stretch.iter().find_map(|outcome| outcome.as_ref().err());
            state.failure = failure.cloned();
        }
        state.arrived += stretch.len();
        state.stretches.insert(first, stretch);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes the outcomes from the item at `next` on, or any if `next` is `None`. If there are none, registers to
    /// be woken when there are more outcomes than `seen`, and says whether there are by now.
    pub(super) fn take(
        &self,
        next: Option<usize>,
        seen: usize,
        cx: &Context<'_>,
    ) -> Result<Stretch<R>, bool> {
        let mut state = self.lock();
        let stretch = match next {
            Some(next) => state.stretches.remove(&next),
            None => state.stretches.pop_first().map(|(_, stretch)| stretch),
        };
        if stretch.is_none() {
            match &mut state.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
        stretch.ok_or(state.arrived > seen)
    }

    /// The first failure of all, in the order of time.
    pub(super) fn failure(&self) -> Option<JoinError> {
        self.lock().failure.clone()
    }

    /// How many outcomes there have been, taken or not.
    pub(super) fn arrived(&self) -> usize {
        self.lock().arrived
    }

    /// How long an item takes, as far as is known.
    pub(super) fn mean(&self) -> Option<Duration> {
        let nanos = self.lock().mean_nanos;
        (nanos > 0.0).then(|| Duration::from_nanos(nanos as u64))
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
