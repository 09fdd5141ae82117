//! The options of a call: its time limit, retries and priority.
//!
//! Lives in the parent. [`Run`](super::Run) and [`Map`](super::Map) have the same public setters, which are
//! written once, here.

use std::sync::Arc;
use std::time::Duration;

use crate::pool::decisions::backoff::Backoff;
use crate::pool::decisions::target::Target;
use crate::schedule::{AffinityKey, Priority};
use crate::sys::clock::Moment;
use crate::task::Traceparent;

/// The options of one call, or of every item of a map.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::pool) struct CallOptions {
    pub(in crate::pool) timeout: Option<Duration>,
    /// How long it may run without a sign of life.
    pub(in crate::pool) progress_timeout: Option<Duration>,
    /// How long it may wait before it starts.
    pub(in crate::pool) queue_timeout: Option<Duration>,
    /// Until when it must have started, once it waits.
    pub(in crate::pool) start_by: Option<Moment>,
    pub(in crate::pool) retries: u32,
    pub(in crate::pool) priority: Priority,
    /// The only worker that may run it; `None` if any may.
    pub(in crate::pool) target: Option<Target>,
    /// How long an item waits before it is tried again; `None` if it does not.
    pub(in crate::pool) backoff: Option<Backoff>,
    /// Whether it was run before, in a worker that has ended.
    pub(in crate::pool) tried: bool,
    pub(in crate::pool) key: Option<AffinityKey>,
    pub(in crate::pool) trace: Option<Arc<Traceparent>>,
}

impl CallOptions {
    /// Those of a call that has none.
    pub(in crate::pool) const NONE: Self = Self {
        timeout: None,
        progress_timeout: None,
        queue_timeout: None,
        start_by: None,
        retries: 0,
        priority: Priority::Normal,
        target: None,
        backoff: None,
        tried: false,
        key: None,
        trace: None,
    };

    /// The shortest time after its start at which a call may have to end.
    pub(in crate::pool) fn first_limit(&self) -> Option<Duration> {
        self.timeout.into_iter().chain(self.progress_timeout).min()
    }
}

/// Defines the public setters of a type with a field `options`. `$subject` is what the options apply to.
macro_rules! option_setters {
    ($subject:literal) => {
        #[doc = concat!("Limits how long ", $subject, " may run.")]
        ///
        /// The time counts from the moment a worker starts it; the wait for a worker does not count. After the limit it
        /// fails with [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut). Its worker is killed, unless the function
        /// returns within the pool's [`cancel_grace`](crate::PoolBuilder::cancel_grace). By default the pool's
        /// [`task_timeout`](crate::PoolBuilder::task_timeout).
        pub fn timeout(mut self, limit: Duration) -> Self {
            self.options.timeout = Some(limit);
            self
        }

        #[doc = concat!("Limits how long ", $subject, " may wait: for room in the queue, and for a worker.")]
        ///
        /// The time counts from the submission: the first poll or the spawn of a call, the reading of an item of a map.
        /// After the limit it fails with [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut), and
        /// [`started`](crate::JoinError::started) is false; nothing is killed for it. The limit ends when the function
        /// starts, and does not hold again when it is tried again. The order in which tasks wait does not depend on
        /// it. By default the pool's [`queue_timeout`](crate::PoolBuilder::queue_timeout).
        pub fn queue_timeout(mut self, limit: Duration) -> Self {
            self.options.queue_timeout = Some(limit);
            self
        }

        #[doc = concat!("Sets how often ", $subject, " is run again if its worker crashes or exits.")]
        ///
        /// Only the end of the worker while the function runs counts, or what the pool's
        /// [`retry_if`](crate::PoolBuilder::retry_if) says. Work that had not started is always run elsewhere. The next
        /// try goes before all others of its priority, with the [`timeout`](Self::timeout) anew. Descriptors among the
        /// arguments are kept for it in the application. An end of a pipe, and a
        /// [`SharedBufMut`](crate::memory::SharedBufMut), can arrive once: a call with one among its arguments is not run again.
        /// By default the pool's [`retries`](crate::PoolBuilder::retries).
        pub fn retries(mut self, retries: u32) -> Self {
            self.options.retries = retries;
            self
        }

        #[doc = concat!("Sets whether ", $subject, " goes before or after other waiting tasks.")]
        ///
        /// The priority orders the tasks that wait for a worker, and the calls that wait for room in a full queue
        /// ([`queue_limit`](crate::PoolBuilder::queue_limit)). Within a priority the order is that of submission, and
        /// no priority starves. It does not change the operating system's priority of the worker, and stops no task
        /// that runs. By default [`Priority::Normal`].
        pub fn priority(mut self, priority: Priority) -> Self {
            self.options.priority = priority;
            self
        }

        #[doc = concat!("Gives the worker the trace context of ", $subject, ".")]
        ///
        /// The task reads it with [`task::traceparent`](crate::task::traceparent). It is opaque: usually the value of
        /// the header `traceparent` of the [W3C's Trace Context](https://www.w3.org/TR/trace-context/). A text of more
        /// than 63 bytes is not sent.
        pub fn traceparent(mut self, traceparent: &str) -> Self {
            self.options.trace = crate::task::Traceparent::new(traceparent).map(std::sync::Arc::new);
            self
        }

        #[doc = concat!("Sends ", $subject, " to the worker that last had the same key, if that is free soon.")]
        ///
        /// A worker may have made something for the key: an open file, a model, a cache. The key decides among workers
        /// and not among tasks: when the task has its turn, by order and priority, it goes to that worker if it is
        /// idle. If it is busy, the task waits for it for at most 50 ms, while other workers take other tasks. It goes
        /// to any worker when this time is over, when a worker is idle and no other task waits, or when 64 others wait
        /// so. A key therefore never makes a worker idle, and two tasks with the same key may run at the same time. A
        /// task that is tried again goes to the worker that had it, if it still exists.
        ///
        /// The worker of a key is remembered for the last few thousand keys. By default there is no key.
        pub fn key(mut self, key: impl std::hash::Hash) -> Self {
            self.options.key = Some(crate::schedule::AffinityKey::of(&key));
            self
        }
    };
}

pub(in crate::pool) use option_setters;
