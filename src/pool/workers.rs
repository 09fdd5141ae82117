//! The workers of a pool: starting them, and what is said to them beside tasks.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::core::{Core, Effect, Phase};
use super::worker_state::Worker;
use crate::error::JoinError;
use crate::schedule::WorkerKey;
use crate::spawn::ChildSpec;
use crate::transfer::messages::ToWorker;

impl Core {
    /// Lets go of the descriptors in the arguments of what has begun: nobody will run that again, and an end of a
    /// channel among them is the task's alone.
    pub(super) fn let_go_of_begun(&mut self) {
        for (worker, it) in self.workers.iter_mut().enumerate() {
            let Some(it) = it.as_mut().filter(|it| !it.has_fds.is_empty()) else {
                continue;
            };
            let Some(requests) = &it.requests else {
                continue;
            };
            it.has_fds.retain(|key| {
                let Some(record) = self.records.get_mut(*key) else {
                    return false;
                };
                let Some(position) = record.position_at(worker) else {
                    return false;
                };
                // What is released has an outcome on its way.
                if requests.released(position) {
                    return false;
                }
                if requests.claimed(position) == 0 {
                    return true;
                }
                if let Some(packed) = &mut record.packed {
                    packed.attachments.clear();
                }
                self.effects.push(Effect::LetGo(Arc::clone(&record.job)));
                false
            });
        }
    }

    /// Starts as many workers as are missing.
    pub(super) fn hire(&mut self) {
        if self.phase == Phase::Over || self.phase == Phase::Closing && self.records.is_empty() {
            return;
        }
        let alive = self.workers.iter().flatten().filter(|it| !it.stopping);
        let missing = self.target.saturating_sub(alive.count());
        if missing == 0 || !self.breaker.allows(self.now) {
            return;
        }
        let starting = self
            .workers
            .iter()
            .flatten()
            .filter(|it| !it.proven && !it.stopping);
        let at_once = self.breaker.at_once().saturating_sub(starting.count());
        for _ in 0..missing.min(at_once) {
            self.start_worker();
        }
    }

    fn start_worker(&mut self) {
        let key = self.schedule.add_worker();
        if self.workers.len() <= key {
            self.workers.resize_with(key + 1, || None);
        }
        let number = self.free_number();
        let (wanted, unwanted) = oneshot::channel();
        self.workers[key] = Some(Worker {
            number,
            signal_handle: None,
            wanted: Some(wanted),
            requests: None,
            preparation: None,
            ready: false,
            proven: false,
            stopping: false,
            doom: None,
            done: 0,
            since: self.now,
            touched: false,
            doubted: None,
            has_fds: Vec::new(),
        });
        let pool = self.settings.name.clone();
        let spec = ChildSpec {
            name: Some(format!("{}/{number}", pool.as_deref().unwrap_or("pool"))),
            pool,
            number: Some(number),
            nice: self.settings.nice,
            memory_limit: self.settings.memory_limit,
            ..ChildSpec::default()
        };
        self.effects
            .push(Effect::Launch(key, Box::new(spec), unwanted));
    }

    fn free_number(&self) -> usize {
        let taken = |number| {
            let mut workers = self.workers.iter().flatten();
            workers.any(|it| it.number == number && !it.stopping)
        };
        (0..).find(|&number| !taken(number)).unwrap_or(0)
    }

    /// A worker that needs no preparation takes tasks as soon as there is a process: they wait in its ring.
    pub(super) fn enlist(&mut self, worker: WorkerKey) {
        if let Some(it) = self.workers.get_mut(worker).and_then(Option::as_mut) {
            it.ready = true;
            if !it.stopping {
                self.schedule.ready(worker, self.now);
            }
        }
    }

    /// A worker has taken its preparation well, or not.
    pub(super) fn prepared(&mut self, worker: WorkerKey, failure: Option<&JoinError>) {
        let Some(it) = self.workers.get_mut(worker).and_then(Option::as_mut) else {
            return;
        };
        match failure {
            None => {
                it.preparation = None;
                it.proven = true;
                self.enlist(worker);
                self.breaker.succeeded();
            }
            Some(cause) => {
                it.kill();
                self.start_failed(cause);
            }
        }
    }

    /// A worker failed to start. If that goes on, nobody waits for one any longer.
    pub(super) fn start_failed(&mut self, cause: &JoinError) {
        if !self.breaker.failed(self.now) {
            return;
        }
        let others = self
            .workers
            .iter()
            .flatten()
            .any(|it| it.ready && !it.stopping);
        if others {
            return;
        }
        for key in self.schedule.take_waiting() {
            if let Some(record) = self.records.remove(key) {
                self.end(&record.job, 0, record.job.items(), cause.clone());
                self.discard(record);
            }
        }
    }

    /// The worker cannot be believed any more.
    pub(super) fn kill_worker(&mut self, worker: WorkerKey) {
        self.schedule.close(worker);
        if let Some(it) = self.workers.get_mut(worker).and_then(Option::as_mut) {
            it.kill();
        }
    }

    /// These parcels are gone; whoever knows them may let go of them.
    pub(super) fn forget_parcels(&mut self, ids: &[u64]) {
        for it in self.workers.iter_mut().flatten() {
            if let Some(requests) = &mut it.requests {
                requests.forget(ids);
            }
        }
    }

    pub(super) fn trim_workers(&mut self) {
        for it in self.workers.iter_mut().flatten() {
            if let Some(requests) = &mut it.requests {
                requests.send(ToWorker::Trim);
            }
        }
    }

    /// Says what could not be said before, and gives tasks to workers that have space again.
    pub(super) fn flush(&mut self) {
        for (worker, it) in self.workers.iter_mut().enumerate() {
            if let Some(requests) = it.as_mut().and_then(|it| it.requests.as_mut()) {
                let _ = requests.send_unsent();
                self.schedule.space(worker);
            }
        }
    }

    /// The worker's parcel was read, or never arrived: then the worker must not use it again.
    pub(super) fn return_blob(&mut self, worker: WorkerKey, pid: u32, id: u64, arrived: bool) {
        // Another worker may have taken the dead one's place, with parcels of the same numbers.
        let it = self.workers.get_mut(worker).and_then(Option::as_mut);
        let Some(it) = it.filter(|it| it.pid() == Some(pid)) else {
            return;
        };
        if let Some(requests) = &mut it.requests {
            requests.send(match arrived {
                true => ToWorker::Returned { id },
                false => ToWorker::Lost { id },
            });
        }
    }
}
