//! When to stop starting workers that do not start.

use std::time::Duration;

use crate::sys::clock::Moment;

/// So many starts in a row may fail before nobody tries any more.
const FAILURES: u32 = 5;

/// How long nobody tries after that, unless a task comes.
const PAUSE: Duration = Duration::from_secs(1);

/// Counts starts that failed in a row, and says whether to try again.
#[derive(Debug, Default)]
pub(crate) struct StartBreaker {
    failures: u32,
    closed_until: Option<Moment>,
}

impl StartBreaker {
    /// A worker has started.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
        self.closed_until = None;
    }

    /// A worker failed to start. True if nobody should try again for now.
    pub(crate) fn failed(&mut self, now: Moment) -> bool {
        self.failures += 1;
        let tripped = self.failures >= FAILURES;
        if tripped {
            self.closed_until = Some(now.plus(PAUSE));
        }
        tripped
    }

    /// A task has come: one more try is worth it.
    pub(crate) fn try_again(&mut self) {
        self.closed_until = None;
    }

    /// Whether a worker may be started.
    pub(crate) fn allows(&self, now: Moment) -> bool {
        self.closed_until.is_none_or(|until| now >= until)
    }

    /// How many more may be started at once: one at a time while it is not known whether any will.
    pub(crate) fn at_once(&self) -> usize {
        if self.failures == 0 { usize::MAX } else { 1 }
    }

    /// When a worker may be started again, if not now.
    pub(crate) fn reopens(&self) -> Option<Moment> {
        self.closed_until
    }
}
