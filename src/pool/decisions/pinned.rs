//! The core's topic: tasks that only one worker may run.
//!
//! A pinned task never waits in the schedule: it waits at its worker, and is sent when the worker has nothing else to
//! do. While a task waits so, or the worker is lent out (`leases`), the schedule gives the worker nothing. A worker
//! with several lanes runs the calls of a lease in its first lane, so one after the other, and any other pinned task in
//! the lane that is free first. Pinned tasks of all its lanes wait at the first.
//!
//! Must stay true: a pinned task whose worker is gone ends or moves, and never waits for ever.

use std::sync::Arc;

use super::core::{Core, Effect, Phase};
use super::records::{Order, Place};
use super::target::{Reservation, Target, WorkerId};
use super::worker_table::Worker;
use crate::error::{ErrorKind, JoinError};
use crate::pool::options::call_options::CallOptions;
use crate::schedule::{TakesTasks as _, TaskKey, WorkerKey};

/// Pinned tasks.
impl Core {
    /// Whether a call may be submitted: one of a lease may not after the lease has ended.
    pub(in crate::pool) fn takes_calls(&self, options: &CallOptions) -> bool {
        match options.target {
            Some(Target::Lease(id)) => self
                .worker_of(id)
                .and_then(|worker| self.workers.get(worker))
                .is_some_and(|it| it.is_alive() && it.is_lent()),
            _ => true,
        }
    }

    /// Why a call was not submitted.
    pub(in crate::pool) fn refusal_of(
        &self,
        task: &'static str,
        target: Option<Target>,
    ) -> JoinError {
        match target {
            Some(Target::Lease(_)) if self.phase == Phase::Open => lease_has_ended(task),
            _ => self.refusal(task),
        }
    }

    /// Whether the worker of a task is there, or will be.
    pub(in crate::pool) fn has_target(&self, key: TaskKey) -> bool {
        match self.target(key) {
            Some(Target::Lease(id)) => self.worker_of(id).is_some(),
            _ => true,
        }
    }

    /// A task waits at the one worker that may run it.
    pub(in crate::pool) fn pin(&mut self, key: TaskKey, target: Target, order: Order) {
        let worker = match target {
            Target::Lease(id) => self.worker_of(id),
            Target::Number(number) => self.worker_with(number),
        };
        let Some(it) = worker.and_then(|worker| self.workers.get_mut(worker)) else {
            return self.lose_target(key, target);
        };
        match order {
            Order::First => it.pinned.push_front(key),
            Order::Last => it.pinned.push_back(key),
        }
        self.pinned.push(key);
        // The other lanes of the worker take no tasks any more.
        self.schedule.workers_changed();
        if let Some(record) = self.records.get_mut(key) {
            record.place = Place::Pinned;
        }
    }

    /// The worker of a task is gone, and the task has not begun.
    fn lose_target(&mut self, key: TaskKey, target: Target) {
        match target {
            Target::Lease(_) => self.fail_lost(key),
            Target::Number(number) => {
                if let Some(record) = self.records.get_mut(key) {
                    record.place = Place::Pinned;
                    self.unplaced.push((number, key));
                    self.check_missing = true;
                    self.run_driver_by(self.breaker.half_open_at());
                }
            }
        }
    }

    fn fail_lost(&mut self, key: TaskKey) {
        if let Some(record) = self.records.remove(key) {
            let error = lease_has_ended(record.job.name());
            self.fail_all(&record.job, error);
            self.discard(record);
        }
    }

    /// Sends pinned tasks to workers that have nothing else to do, and settles reservations.
    pub(in crate::pool) fn serve_pinned(&mut self) {
        self.unserved = false;
        if self.pinned.is_empty() && self.unsettled == 0 {
            return;
        }
        for worker in self.workers.keys() {
            while let Some((lane, key)) = self.next_pinned(worker) {
                self.forget_pinned(key);
                self.dispatch(lane, key);
            }
            self.settle_reservation(worker);
        }
    }

    /// Whether a pinned task, or a reservation, came after the workers were last served.
    pub(in crate::pool) fn has_unserved(&self) -> bool {
        self.unserved
    }

    /// The pinned task that is sent to the worker next, and the lane that has nothing else to do.
    fn next_pinned(&self, worker: WorkerKey) -> Option<(WorkerKey, TaskKey)> {
        let it = self.workers.get(worker)?;
        let key = *it.pinned.front()?;
        let is_of_lease = matches!(self.target(key), Some(Target::Lease(_)));
        let lanes = match is_of_lease || it.reservation.is_exclusive() {
            true => 1,
            false => usize::MAX,
        };
        let mut lanes = self.workers.lanes(worker).take(lanes);
        Some((lanes.find(|&lane| self.is_free_lane(lane))?, key))
    }

    /// A pinned task waits no longer.
    pub(in crate::pool) fn forget_pinned(&mut self, key: TaskKey) {
        self.pinned.retain(|other| *other != key);
        self.unplaced.retain(|(_, other)| *other != key);
        for (_, it) in self.workers.iter_mut() {
            it.pinned.retain(|other| *other != key);
            if it.reservation == Reservation::Promised(key) {
                it.reservation = Reservation::None;
                self.unsettled -= 1;
                // It may have been kept for nothing else.
                self.effects.push(Effect::WakeDriver);
            }
        }
        // A worker may take tasks now, and the schedule has looked already.
        self.unserved = true;
        self.schedule.workers_changed();
    }

    /// The only worker that may run the task.
    pub(in crate::pool) fn target(&self, key: TaskKey) -> Option<Target> {
        self.records.get(key)?.options.target
    }

    /// Whether the worker may be sent this task.
    pub(in crate::pool) fn may_send(&self, worker: WorkerKey, key: TaskKey) -> bool {
        match self.target(key) {
            Some(_) => {
                let it = self.workers.get(worker);
                it.is_some_and(Worker::takes_pinned)
            }
            None => self.workers.takes_tasks(worker),
        }
    }

    /// The worker is gone: its pinned tasks, and the request that it was promised to, look for another.
    pub(in crate::pool) fn unpin_all(&mut self, gone: &Worker) {
        match gone.reservation {
            Reservation::Promised(key) => {
                self.unsettled -= 1;
                self.requeue(key);
            }
            Reservation::GivenBack => self.unsettled -= 1,
            Reservation::None | Reservation::Lent => {}
        }
        for key in gone.pinned.iter().copied() {
            self.pinned.retain(|other| *other != key);
            if let Some(target) = self.target(key) {
                self.pin(key, target, Order::Last);
            }
        }
    }

    /// A worker with this number is being started: it takes what waits for that number.
    pub(in crate::pool) fn place_pinned(&mut self, number: usize) {
        let waiting = std::mem::take(&mut self.unplaced);
        let (here, elsewhere) = waiting.into_iter().partition(|(other, _)| *other == number);
        self.unplaced = elsewhere;
        for (_, key) in here {
            self.pin(key, Target::Number(number), Order::Last);
        }
    }

    /// No worker will be started for the tasks that wait for one: they are skipped.
    pub(in crate::pool) fn skip_unplaced(&mut self) {
        for (_, key) in std::mem::take(&mut self.unplaced) {
            if let Some(record) = self.records.remove(key) {
                self.effects.push(Effect::Skip(Arc::clone(&record.job)));
                self.discard(record);
            }
        }
    }

    /// No worker can be started: the tasks that wait for a worker with some number end with the cause. They may still
    /// be at a worker whose exit was not seen.
    pub(in crate::pool) fn fail_numbered(&mut self, cause: &JoinError) {
        let unplaced = self.unplaced.iter().map(|(_, key)| *key);
        let keys: Vec<_> = self.pinned.iter().copied().chain(unplaced).collect();
        for key in keys {
            if !matches!(self.target(key), Some(Target::Number(_))) {
                continue;
            }
            self.forget_pinned(key);
            if let Some(record) = self.records.remove(key) {
                self.fail_all(&record.job, cause.clone());
                self.discard(record);
            }
        }
    }

    pub(super) fn worker_of(&self, id: WorkerId) -> Option<WorkerKey> {
        let mut workers = self.workers.iter();
        workers.find(|(_, it)| it.id() == id).map(|(key, _)| key)
    }

    fn worker_with(&self, number: usize) -> Option<WorkerKey> {
        let workers = self.workers.first_lanes();
        let alive = workers.filter(|(_, it)| it.number == number && it.is_alive());
        // A worker on standby comes after the worker that it replaces.
        alive.min_by_key(|(_, it)| it.standby).map(|(key, _)| key)
    }
}

/// Numbers.
impl Core {
    /// The numbers of the workers, also of workers that are about to be started.
    pub(in crate::pool) fn worker_numbers(&self) -> Vec<usize> {
        let alive = self.workers.iter().filter(|(_, it)| it.is_alive());
        let mut numbers: Vec<_> = alive.map(|(_, it)| it.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let missing = self.missing_workers();
        let free = (0..).filter(|number| !numbers.contains(number));
        let starting: Vec<_> = free.take(missing).collect();
        numbers.extend(starting);
        numbers.sort_unstable();
        numbers
    }
}

fn lease_has_ended(task: &'static str) -> JoinError {
    JoinError::new(ErrorKind::Closed, task).because("the worker of this lease has ended")
}
