//! The core's topic: the wait of an item before it is tried again.

use std::cmp::Reverse;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use super::core::Core;
use super::records::{Order, Place, TaskArguments};
use crate::call::job::Job;
use crate::pool::options::shared_options::SharedOptions;
use crate::schedule::TaskKey;
use crate::sys::clock::Moment;

impl Core {
    /// Runs a job, whose worker has ended, again: at once, or after the wait that its options say.
    pub(in crate::pool) fn try_again(&mut self, job: Arc<dyn Job>, options: SharedOptions) {
        let key = self.insert(job, TaskArguments::Unencoded, options);
        self.requeue_later(key);
    }

    /// A task waits for a worker again: at once, or after the wait that its options say.
    pub(in crate::pool) fn requeue_later(&mut self, key: TaskKey) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        // Looked at first: options that are changed are not shared with other tasks any more.
        if record.options.backoff.is_none() {
            return self.requeue(key);
        }
        let Some(backoff) = &mut record.options.backoff else {
            return;
        };
        let wait = backoff.take(RandomState::new().hash_one(self.now.to_bits()));
        record.place = Place::Delayed;
        let at = self.now.plus(wait);
        self.delayed.push(Reverse((at, key)));
        self.run_driver_by(Some(at));
    }

    /// Tasks whose wait is over wait for a worker.
    pub(in crate::pool) fn end_delays(&mut self) {
        while self.next_delayed().is_some_and(|at| at <= self.now) {
            let Some(Reverse((_, key))) = self.delayed.pop() else {
                return;
            };
            if let Some(record) = self.records.get_mut(key) {
                record.place = Place::Waiting;
                let priority = record.options.priority;
                self.enqueue(key, priority, Order::First);
            }
        }
    }

    /// When the wait of a task is over.
    pub(in crate::pool) fn next_delayed(&self) -> Option<Moment> {
        self.delayed.peek().map(|Reverse((at, _))| *at)
    }
}
