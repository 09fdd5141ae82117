//! A circuit breaker that stops the start of workers after repeated failures.
//!
//! As in M. Nygard, "Release It!": closed, the breaker lets starts pass. After [`MAX_FAILURES`] in a row it opens and
//! lets none pass. After [`OPEN_FOR`], or when a task is submitted, it is half open: one start at a time may try.

use std::time::Duration;

use crate::sys::clock::Moment;

/// Starts that fail in a row before the breaker opens.
const MAX_FAILURES: u32 = 5;

/// How long the breaker stays open, unless a task is submitted.
const OPEN_FOR: Duration = Duration::from_secs(1);

/// Counts starts that failed in a row, and says whether to start another worker.
#[derive(Debug, Default)]
pub(crate) struct StartBreaker {
    failures: u32,
    open_until: Option<Moment>,
}

impl StartBreaker {
    /// A worker has started: closes the breaker.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
        self.open_until = None;
    }

    /// A worker failed to start. True if the breaker is open now.
    #[must_use]
    pub(crate) fn failed(&mut self, now: Moment) -> bool {
        self.failures += 1;
        let opens = self.failures >= MAX_FAILURES;
        if opens {
            self.open_until = Some(now.plus(OPEN_FOR));
        }
        opens
    }

    /// A task was submitted: an open breaker becomes half open. True if the breaker was open.
    #[must_use]
    pub(crate) fn try_again(&mut self) -> bool {
        self.open_until.take().is_some()
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
