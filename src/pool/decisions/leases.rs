//! The core's topic: workers that are lent out.
//!
//! A request for a worker is a task, so that it waits among the others in its turn. When the schedule has chosen a
//! worker for it, the worker is promised: it finishes what it has, and is then lent out. If another worker is idle
//! before that, the promise goes there. A lease is of the whole worker: of all its lanes, whose reservation the first
//! lane has. When it is given back, the calls that were submitted through it run before anything else.
//!
//! Must stay true: while a worker is lent out, or has calls of a lease, no other task runs in it but a pinned one, and
//! that not at the same time.

use std::sync::Arc;

use super::core::{Core, Effect, Phase};
use super::records::Place;
use super::target::{Reservation, WorkerId};
use super::worker_table::Worker;
use crate::error::ErrorKind;
use crate::schedule::{TakesTasks as _, TaskKey, WorkerKey};

impl Core {
    /// The schedule has chosen a worker, by one of its lanes, for a request for one.
    pub(in crate::pool) fn promise(&mut self, lane: WorkerKey, key: TaskKey) {
        if self.phase != Phase::Open {
            return self.fail_unstarted(key, ErrorKind::Closed);
        }
        let worker = self.workers.first_lane(lane);
        let Some(it) = self.workers.get_mut(worker) else {
            return self.requeue(key);
        };
        it.reservation = Reservation::Promised(key);
        self.unsettled += 1;
        self.unserved = true;
        // Its other lanes take no tasks any more.
        self.schedule.workers_changed();
        if let Some(record) = self.records.get_mut(key) {
            record.place = Place::Pinned;
        }
    }

    /// Lends a promised worker out, or another that is idle before it. Ends the reservation of a worker that was given
    /// back, and has finished the calls of its lease.
    pub(in crate::pool) fn settle_reservation(&mut self, worker: WorkerKey) {
        let Some(it) = self.workers.get(worker) else {
            return;
        };
        match it.reservation {
            Reservation::Promised(key) if it.is_alive() => {
                if let Some(lent) = self.lendable(worker) {
                    self.forget_pinned(key);
                    self.lend(lent, key);
                }
            }
            Reservation::Promised(key) => {
                self.end_reservation(worker);
                self.requeue(key);
            }
            Reservation::GivenBack if !it.is_alive() || self.has_run_calls(worker) => {
                self.end_reservation(worker);
            }
            Reservation::GivenBack | Reservation::Lent | Reservation::None => {}
        }
    }

    fn end_reservation(&mut self, worker: WorkerKey) {
        if let Some(it) = self.workers.get_mut(worker) {
            it.reservation = Reservation::None;
            self.unsettled -= 1;
            self.schedule.workers_changed();
            // It may have been kept for longer than it would have been otherwise.
            self.effects.push(Effect::WakeDriver);
        }
    }

    /// This promised worker if it has nothing else to do, or another that is idle.
    fn lendable(&self, worker: WorkerKey) -> Option<WorkerKey> {
        let has_pinned = |it: &Worker| !it.pinned.is_empty();
        if self.is_free(worker) && !self.workers.get(worker).is_some_and(has_pinned) {
            return Some(worker);
        }
        let mut workers = self.workers.first_lanes().map(|(key, _)| key);
        workers.find(|&key| self.workers.takes_tasks(key) && self.is_free(key))
    }

    /// Whether all lanes of the worker are free.
    fn is_free(&self, worker: WorkerKey) -> bool {
        let mut lanes = self.workers.lanes(worker);
        lanes.all(|lane| self.is_free_lane(lane))
    }

    /// Whether a lane may be given a pinned task and has no other.
    pub(in crate::pool) fn is_free_lane(&self, lane: WorkerKey) -> bool {
        let takes = self.workers.get(lane).is_some_and(Worker::takes_pinned);
        takes && self.schedule.has_nothing(lane)
    }

    fn lend(&mut self, worker: WorkerKey, key: TaskKey) {
        let Some((it, pid)) = self
            .workers
            .get_mut(worker)
            .and_then(|it| it.pid().map(|pid| (it, pid)))
        else {
            return self.requeue(key);
        };
        if let Some(record) = self.records.remove(key) {
            it.reservation = Reservation::Lent;
            let id = it.id();
            let job = Arc::clone(&record.job);
            self.effects.push(Effect::Lend(job, id, pid));
            self.discard(record);
        }
    }

    /// The holder of a lease gives its worker back.
    pub(in crate::pool) fn end_lease(&mut self, id: WorkerId) {
        if let Some(worker) = self.worker_of(id) {
            self.take_back(worker);
        }
    }

    /// A lease of this worker has ended, if it had one. What was submitted through it is run before anything else.
    fn take_back(&mut self, worker: WorkerKey) {
        let has_run = self.has_run_calls(worker);
        let it = self.workers.get_mut(worker);
        let Some(it) = it.filter(|it| it.is_lent()) else {
            return;
        };
        it.reservation = Reservation::GivenBack;
        self.unsettled += 1;
        if has_run {
            self.end_reservation(worker);
        }
    }

    /// Whether no call that was submitted through the lease of this worker is without an outcome.
    fn has_run_calls(&self, worker: WorkerKey) -> bool {
        let it = self.workers.get(worker);
        it.is_none_or(|it| it.pinned.is_empty()) && self.schedule.has_nothing(worker)
    }

    /// The pool closes: no worker is lent out any more.
    pub(in crate::pool) fn end_leases(&mut self) {
        for worker in self.workers.keys() {
            let Some(it) = self.workers.get(worker) else {
                continue;
            };
            match it.reservation {
                Reservation::Promised(key) => {
                    self.end_reservation(worker);
                    self.fail_unstarted(key, ErrorKind::Closed);
                }
                Reservation::Lent => self.take_back(worker),
                Reservation::GivenBack | Reservation::None => {}
            }
        }
        self.schedule.workers_changed();
    }
}
