//! The core's topic: how many workers there are.
//!
//! The bounds of a pool are one number, or two: then the pool grows while work waits and shrinks when workers are idle.

use super::core::{Core, Phase};
use crate::pool::options::worker_limits::WorkerDemand;
use crate::schedule::WorkerKey;
use crate::sys::clock::Moment;

impl Core {
    /// Has `workers` workers from now on, at the least and at the most.
    pub(in crate::pool) fn resize(&mut self, workers: usize) {
        if self.phase != Phase::Open {
            return;
        }
        self.bounds.min = workers;
        self.bounds.max = workers;
        self.check_missing = true;
        let mut staying = self.staying();
        // Those with the highest numbers leave.
        staying.sort_by_key(|(number, _)| *number);
        for (_, worker) in staying.into_iter().skip(workers) {
            self.leave_after_this_task(worker, None);
        }
    }

    /// Starts as many workers as are missing.
    pub(in crate::pool) fn start_missing(&mut self) {
        if self.phase == Phase::Over || self.phase == Phase::Closing && self.records.is_empty() {
            return;
        }
        let missing = self.missing_workers();
        if missing == 0 {
            self.skip_unplaced();
        }
        if missing == 0 || !self.breaker.allows(self.now) {
            return;
        }
        let starting = self
            .workers
            .first_lanes()
            .filter(|(_, it)| it.is_starting());
        let at_once = self.breaker.max_starting().saturating_sub(starting.count());
        for _ in 0..missing.min(at_once) {
            self.start_worker();
        }
    }

    /// How many workers fewer than it should have the pool has.
    pub(in crate::pool) fn missing_workers(&self) -> usize {
        let staying = self.staying().len();
        // A replacement is wanted although the worker it replaces may be idle.
        let replacing = (staying + self.unreplaced().count()).min(self.bounds.max);
        let wanted = self.bounds.wanted(self.demand()).max(replacing);
        wanted.saturating_sub(staying)
    }

    /// The number of the next worker: that of a worker which leaves and must be replaced, or the lowest free number.
    pub(in crate::pool) fn next_number(&self) -> usize {
        let lowest = || (0..).find(|&number| !self.has_staying(number));
        self.unreplaced().min().or_else(lowest).unwrap_or(0)
    }

    /// The numbers of workers that leave and must be replaced, and were not.
    fn unreplaced(&self) -> impl Iterator<Item = usize> + '_ {
        let alive = self
            .workers
            .first_lanes()
            .map(|(_, it)| it)
            .filter(|it| it.is_alive());
        let leaving = alive.filter(|it| it.departure.needs_successor());
        let numbers = leaving.map(|it| it.number);
        numbers.filter(|&number| !self.has_staying(number))
    }

    /// Whether a worker with this number stays.
    fn has_staying(&self, number: usize) -> bool {
        // That a worker leaves when it is replaced is known of its first lane.
        let mut workers = self.workers.first_lanes().map(|(_, it)| it);
        workers.any(|it| it.number == number && it.is_alive() && !it.departure.is_decided())
    }

    fn demand(&self) -> WorkerDemand {
        let busy = self.workers.keys().filter(|&worker| self.is_busy(worker));
        let lanes = self.settings.tasks_per_worker;
        WorkerDemand {
            busy: busy.count().div_ceil(lanes),
            waiting: self.schedule.waiting().div_ceil(lanes),
            mean: self.schedule.mean_time(),
        }
    }

    /// Whether a worker that stays has a task, or is kept for one.
    fn is_busy(&self, worker: WorkerKey) -> bool {
        let it = self.workers.get(worker);
        it.is_some_and(|it| {
            let is_reserved = self.workers.is_reserved(worker);
            let has_work = is_reserved || self.schedule.idle_for(worker, self.now).is_none();
            has_work && it.is_alive() && !it.departure.is_decided()
        })
    }

    /// The workers that stay, with their numbers.
    fn staying(&self) -> Vec<(usize, WorkerKey)> {
        let workers = self.workers.first_lanes();
        let staying = workers.filter(|(_, it)| it.is_alive() && !it.departure.is_decided());
        staying.map(|(worker, it)| (it.number, worker)).collect()
    }
}

/// What time brings to a pool whose number of workers follows from the work.
impl Core {
    /// Starts a worker if work waits behind a long task, and ends workers that were idle for long.
    pub(in crate::pool) fn adapt_worker_count(&mut self) {
        if !self.bounds.is_elastic() || self.phase != Phase::Open {
            return;
        }
        if self.next_growth().is_some_and(|at| at <= self.now) {
            self.start_worker();
        }
        let mut idle = self.idle_workers();
        idle.sort_by_key(|(at, number, _)| (*at, std::cmp::Reverse(*number)));
        let spare = self.staying().len().saturating_sub(self.bounds.min);
        for (at, _, worker) in idle.into_iter().take(spare) {
            if at <= self.now {
                self.leave_after_last_task(worker, None);
                self.end_if_finished(worker);
            }
        }
    }

    /// When the number of workers may have to change, if nothing else happens.
    pub(in crate::pool) fn next_adaption(&self) -> Option<Moment> {
        if !self.bounds.is_elastic() || self.phase != Phase::Open {
            return None;
        }
        let has_spare = self.staying().len() > self.bounds.min;
        let idle = self.idle_workers().into_iter().map(|(at, _, _)| at).min();
        let idle = idle.filter(|_| has_spare);
        idle.into_iter().chain(self.next_growth()).min()
    }

    /// When a worker must be started because work has waited behind a long task. `None` if there are enough, or one is
    /// being started.
    fn next_growth(&self) -> Option<Moment> {
        let starts = self.workers.iter().any(|(_, it)| it.life.is_on_the_way());
        let allowed = !starts && self.breaker.allows(self.now);
        if !allowed || self.staying().len() >= self.bounds.max {
            return None;
        }
        let wait = self.schedule.next_delay(&self.workers, self.now)?;
        Some(self.now.plus(wait))
    }

    /// Idle workers that stay: when each was idle for long enough, its number, and its key.
    fn idle_workers(&self) -> Vec<(Moment, usize, WorkerKey)> {
        let staying = self.workers.first_lanes();
        let staying = staying.filter(|(_, it)| it.takes_tasks() && !it.departure.is_decided());
        let idle = staying.filter_map(|(worker, it)| {
            let idle_for = self.worker_idle_for(worker)?;
            let idle_for = idle_for.min(self.now.since(it.idle_since));
            let left = self.bounds.idle_timeout.saturating_sub(idle_for);
            Some((self.now.plus(left), it.number, worker))
        });
        idle.collect()
    }
}
