//! The core's topic: tasks, and waits for a place in the queue, that must have ended their wait.
//!
//! A task that has started is not affected. A worker may start it at any moment, so it is revoked first.

use super::core::{Core, Effect};
use super::records::Place;
use crate::error::{ErrorKind, JoinError};
use crate::schedule::{TaskKey, WorkerKey};
use crate::sys::clock::Moment;

impl Core {
    /// A task must have started at `at`.
    pub(in crate::pool) fn add_deadline(&mut self, at: Moment, key: TaskKey) {
        let records = &self.records;
        let waits = |key| records.get(key).is_some();
        self.deadlines.add(at, key, records.len(), waits);
        self.run_driver_by(Some(at));
    }

    /// When the first wait must be over.
    pub(in crate::pool) fn next_deadline(&mut self) -> Option<Moment> {
        let records = &self.records;
        let of_task = self.deadlines.first(|key| records.get(key).is_some());
        of_task
            .into_iter()
            .chain(self.admission.next_deadline())
            .min()
    }

    /// Ends the waits whose time is over.
    pub(in crate::pool) fn expire_waiting(&mut self) {
        while let Some(key) = self.deadlines.pop_over(self.now) {
            self.expire_task(key);
        }
        let wakers = self.admission.expire(self.now);
        self.effects
            .extend(wakers.into_iter().map(Effect::WakeTask));
    }

    fn expire_task(&mut self, key: TaskKey) {
        let Some(record) = self.records.get(key) else {
            return;
        };
        // The wait of a task that is tried again has ended with its first start.
        if record.start_by().is_none() {
            return;
        }
        match record.place {
            Place::Waiting => {
                self.schedule.cancel_waiting(key);
                self.fail_unstarted(key, ErrorKind::TimedOut);
            }
            Place::Pinned => {
                self.forget_pinned(key);
                self.fail_unstarted(key, ErrorKind::TimedOut);
            }
            Place::Encoding => self.fail_unstarted(key, ErrorKind::TimedOut),
            // It has started before.
            Place::Deciding | Place::Delayed => {}
            Place::Sent { worker, .. } => self.expire_sent(worker, key),
        }
    }

    /// Ends the items of a task that its worker has not started.
    fn expire_sent(&mut self, worker: WorkerKey, key: TaskKey) {
        let (Some(position), Some(record)) = (self.position(key), self.records.get(key)) else {
            return;
        };
        let items = record.job.items();
        let Some(requests) = self.requests(worker) else {
            return;
        };
        // A task that is over, or all of whose items have started.
        if requests.released(position) || requests.claimed(position) >= items {
            return;
        }
        match requests.revoke(position) {
            0 => {
                self.on_revoked(worker, key);
                self.fail_unstarted(key, ErrorKind::TimedOut);
            }
            claimed => {
                let Some((rest, ..)) = self.take_rest(worker, key, claimed) else {
                    return;
                };
                self.fail_all(&rest, JoinError::new(ErrorKind::TimedOut, rest.name()));
            }
        }
    }
}
