//! The options of a call: its time limit, retries and priority.
//!
//! Lives in the parent. [`Run`](super::Run) and [`Map`](super::Map) have the same public setters, which are
//! written once, here.

use std::time::Duration;

use super::backoff::Backoff;
use super::target::Target;
use crate::schedule::Priority;

/// The options of one call, or of every item of a map.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CallOptions {
    pub(super) timeout: Option<Duration>,
    /// How long it may run without a sign of life.
    pub(super) progress_timeout: Option<Duration>,
    pub(super) retries: u32,
    pub(super) priority: Priority,
    /// The only worker that may run it; `None` if any may.
    pub(super) target: Option<Target>,
    /// How long an item waits before it is tried again; `None` if it does not.
    pub(super) backoff: Option<Backoff>,
    /// Whether it was run before, in a worker that has ended.
    pub(super) tried: bool,
}

impl CallOptions {
    /// The shortest time after its start at which a call may have to end.
    pub(super) fn first_limit(&self) -> Option<Duration> {
        self.timeout.into_iter().chain(self.progress_timeout).min()
    }
}

/// Defines the public setters of a type with a field `options`. `$subject` is what the options apply to.
macro_rules! option_setters {
    ($subject:literal) => {
        #[doc = concat!("Limits how long ", $subject, " may run.")]
        ///
        /// The time counts from the moment a worker starts it; the wait for a worker does not count. After
        /// the limit it fails with [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut). Its worker is killed,
        /// unless the function returns within the pool's [`cancel_grace`](crate::PoolBuilder::cancel_grace). By default the pool's
        /// [`task_timeout`](crate::PoolBuilder::task_timeout).
        pub fn timeout(mut self, limit: Duration) -> Self {
            self.options.timeout = Some(limit);
            self
        }

        #[doc = concat!("Sets how often ", $subject, " is run again if its worker crashes or exits.")]
        ///
        /// Only the end of the worker while the function runs counts. Work that had not started is always run
        /// elsewhere. By default the pool's [`retries`](crate::PoolBuilder::retries).
        pub fn retries(mut self, retries: u32) -> Self {
            self.options.retries = retries;
            self
        }

        #[doc = concat!("Sets whether ", $subject, " goes before or after other waiting tasks.")]
        ///
        /// The priority orders the tasks that wait for a worker. It does not change the operating system's
        /// priority of the worker. By default [`Priority::Normal`].
        pub fn priority(mut self, priority: Priority) -> Self {
            self.options.priority = priority;
            self
        }
    };
}

pub(super) use option_setters;
