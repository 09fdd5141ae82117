//! The core's topic: running an item once more.

use std::cmp::Reverse;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use super::call_options::CallOptions;
use super::core::Core;
use super::records::{Order, Place, TaskArguments};
use crate::call::job::Job;
use crate::schedule::TaskKey;
use crate::sys::clock::Moment;

impl Core {
    /// Runs a job, whose worker has ended, once more: at once, or after the wait that its options say.
    pub(super) fn try_again(&mut self, job: Arc<dyn Job>, mut options: CallOptions) {
        options.tried = true;
        if options.backoff.is_none() {
            return self.enqueue_front(job, None, options);
        }
        let key = self.insert(job, TaskArguments::Unencoded, options);
        self.delay(key);
    }

    /// A task waits as long as its options say, and then runs again.
    pub(super) fn delay(&mut self, key: TaskKey) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        record.place = Place::Delayed;
        let random = RandomState::new().hash_one(self.now.to_bits());
        let backoff = record.options.backoff.as_mut();
        let wait = backoff.map_or(Duration::ZERO, |backoff| backoff.take(random));
        let at = self.now.plus(wait);
        self.delayed.push(Reverse((at, key)));
        self.run_driver_by(Some(at));
    }

    /// Tasks whose wait is over wait for a worker.
    pub(super) fn end_delays(&mut self) {
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
    pub(super) fn next_delayed(&self) -> Option<Moment> {
        self.delayed.peek().map(|Reverse((at, _))| *at)
    }
}
