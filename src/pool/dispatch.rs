//! Giving waiting tasks to workers.

use std::sync::Arc;

use super::call_options::CallOptions;
use super::core::{Core, Effect, Phase};
use super::records::Place;
use crate::call::Written;
use crate::call::job::Job;
use crate::error::{ErrorKind, JoinError};
use crate::schedule::{TaskKey, WorkerKey};
use crate::transfer::blob::PackedBlob;

impl Core {
    /// Takes a task. `None` if the pool takes none any more.
    pub(super) fn submit(&mut self, job: Arc<dyn Job>, options: CallOptions) -> Option<TaskKey> {
        if self.phase != Phase::Open {
            return None;
        }
        let key = self.records.insert(job, options, self.now);
        self.schedule.submit(key, options.priority);
        self.breaker.try_again();
        Some(key)
    }

    /// Takes many tasks at once. False if the pool takes none any more.
    pub(super) fn submit_all(
        &mut self,
        jobs: &mut Vec<Arc<dyn Job>>,
        options: CallOptions,
    ) -> bool {
        jobs.drain(..)
            .all(|job| self.submit(job, options).is_some())
    }

    /// Gives waiting tasks to workers and starts the workers that are wanted.
    pub(super) fn pump(&mut self) {
        while let Some((worker, task)) = self.schedule.next() {
            self.dispatch(worker, task);
        }
        for worker in self.workers.iter_mut().flatten() {
            if !std::mem::take(&mut worker.touched) {
                continue;
            }
            if let Some(requests) = &worker.requests {
                requests.wake();
            }
        }
        self.hire();
    }

    fn dispatch(&mut self, worker: WorkerKey, key: TaskKey) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        let Some(it) = self.workers.get_mut(worker).and_then(Option::as_mut) else {
            return self.requeue(key);
        };
        let Some(requests) = &mut it.requests else {
            return self.requeue(key);
        };
        let post = match &record.packed {
            Some(packed) => requests.write_blob(key, &*record.job, packed),
            None => requests.write(key, &*record.job, record.options.timeout.is_some()),
        };
        match post {
            Written::Sent {
                position,
                items,
                has_fds,
            } => {
                it.touched = true;
                // Those of several items may belong to any; those of a task that can be retried are needed again.
                if has_fds && record.job.items() == 1 && record.options.retries == 0 {
                    it.has_fds.push(key);
                }
                record.place = Place::Sent {
                    worker,
                    position,
                    received: 0,
                };
                let expires = record.options.timeout.map(|limit| self.now.plus(limit));
                self.schedule.sent(worker, key, items, self.now);
                self.look_by(expires);
                self.look_by(self.balance());
                self.queue_rest(key, items);
            }
            Written::NoSpace => {
                self.requeue(key);
                self.schedule.no_space(worker);
            }
            Written::TooLarge => {
                record.place = Place::Packing;
                let job = Arc::clone(&record.job);
                self.queue_rest(key, 1);
                self.effects.push(Effect::Pack(key, job));
            }
            Written::Refused(why) => {
                self.queue_rest(key, 1);
                self.refuse(key, &why);
            }
        }
    }

    /// The items of a task behind the first `kept` wait as a task of their own.
    fn queue_rest(&mut self, key: TaskKey, kept: usize) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        if record.job.items() > kept {
            let rest = record.job.split(kept);
            let options = record.options;
            let key = self.records.insert(rest, options, self.now);
            self.schedule.submit_again(key, options.priority);
        }
    }

    /// A task whose arguments cannot be encoded ends here.
    fn refuse(&mut self, key: TaskKey, why: &str) {
        if let Some(record) = self.records.remove(key) {
            let error = JoinError::new(ErrorKind::Encode, record.job.name())
                .because(format!("the arguments: {why}"));
            self.end(&record.job, 0, record.job.items(), error);
            self.discard(record);
        }
    }

    /// The arguments of a large task were encoded, or could not be.
    pub(super) fn packed(&mut self, key: TaskKey, packed: Result<PackedBlob, String>) {
        let known = self.records.get_mut(key);
        match (packed, known) {
            (Ok(packed), Some(record)) => {
                record.packed = Some(packed);
                self.requeue(key);
            }
            (Ok(packed), None) => self.effects.push(Effect::Unpack(packed)),
            (Err(why), Some(_)) => self.refuse(key, &why),
            (Err(_), None) => {}
        }
    }

    /// The task waits again, before all others.
    pub(super) fn requeue(&mut self, key: TaskKey) {
        if let Some(record) = self.records.get_mut(key) {
            record.place = Place::Waiting;
            let priority = record.options.priority;
            if record.cancelled || self.phase == Phase::Over {
                self.end_unstarted(key, ErrorKind::Cancelled);
            } else {
                self.schedule.submit_again(key, priority);
            }
        }
    }
}
