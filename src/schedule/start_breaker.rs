//! A circuit breaker that stops the start of workers after repeated failures.
//!
//! As in M. Nygard, "Release It!": closed, the breaker lets starts pass. After [`MAX_FAILURES`] in a row it opens and
//! lets none pass. After [`OPEN_FOR`], or when a task is submitted and there is no worker, it is half open: one start at
//! a time may try.

use std::time::Duration;

use crate::sys::clock::Moment;

/// Starts that fail in a row before the breaker opens.
const MAX_FAILURES: u32 = 5;

/// How long the breaker stays open, unless a task is submitted and there is no worker.
const OPEN_FOR: Duration = Duration::from_secs(1);

/// Counts starts that failed in a row, and says whether to start another worker.
#[derive(Debug, Default)]
pub(crate) struct StartBreaker {
    failures: u32,
    /// When the last of them was counted.
    last_failure: Option<Moment>,
    open_until: Option<Moment>,
}

impl StartBreaker {
    /// A worker has started: closes the breaker.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A worker whose start `began` then failed to start. True if the breaker is open now.
    ///
    /// Starts that overlap and fail count once: they may have taken each other's room, where one alone has enough.
    #[must_use]
    pub(crate) fn failed(&mut self, began: Moment, now: Moment) -> bool {
        if self.last_failure.is_some_and(|last| began < last) {
            return self.is_open();
        }
        self.last_failure = Some(now);
        self.failures = self.failures.saturating_add(1);
        if self.failures >= MAX_FAILURES {
            self.open_until = Some(now.plus(OPEN_FOR));
        }
        self.is_open()
    }

    /// One worker at a time may be started: an open breaker becomes half open.
    pub(crate) fn half_open(&mut self) {
        self.open_until = None;
    }

    /// Whether no worker may be started for a while.
    pub(crate) fn is_open(&self) -> bool {
        self.open_until.is_some()
    }

    /// Whether a worker may be started.
    pub(crate) fn allows(&self, now: Moment) -> bool {
        self.open_until.is_none_or(|until| now >= until)
    }

    /// How many workers may be starting at a time: one, while it is not known whether any will start.
    pub(crate) fn max_starting(&self) -> usize {
        if self.failures == 0 { usize::MAX } else { 1 }
    }

    /// When an open breaker becomes half open. `None` if the breaker is not open.
    pub(crate) fn half_open_at(&self) -> Option<Moment> {
        self.open_until
    }
}
