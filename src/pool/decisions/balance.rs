//! The core's topic: moving unstarted tasks to workers that would start them sooner.

use super::core::Core;
use super::worker_state::WorkerLife;
use crate::schedule::WorkerKey;
use crate::sys::clock::Moment;

impl Core {
    /// When the driver must run even if nothing happens.
    pub(in crate::pool) fn next_run(&mut self) -> Option<Moment> {
        let half_open_at = self.breaker.half_open_at();
        // Also if no task waits: the pool finds out by itself that workers can be started again.
        let half_open_at = half_open_at.filter(|_| {
            self.schedule.waiting() > 0 || !self.unplaced.is_empty() || self.missing_workers() > 0
        });
        let first = self.next_turn_of_workers();
        first
            .into_iter()
            .chain(self.next_balance())
            .chain(half_open_at)
            .chain(self.next_deadline())
            .chain(self.next_adaption())
            .chain(self.admission.next_lapse())
            .chain(self.next_delayed())
            .min()
    }

    /// When unstarted tasks may have to be moved, or a batch is slow.
    pub(in crate::pool) fn next_balance(&mut self) -> Option<Moment> {
        self.note_takers();
        self.schedule.next_check(&self.workers)
    }

    fn is_balance_due(&mut self) -> bool {
        self.next_balance().is_some_and(|at| at <= self.now)
    }

    /// Finds batches that have had no outcome for a while, and has their workers send every outcome at once from now
    /// on. Returns the workers: the outcomes they have published before must be salvaged.
    pub(in crate::pool) fn flush_slow_batches(&mut self) -> Vec<WorkerKey> {
        let mut slow = Vec::new();
        if !self.is_balance_due() {
            return slow;
        }
        while let Some((worker, task)) = self.schedule.slow_batch(self.now) {
            let position = self.position(task);
            let Some((position, requests)) = position.zip(self.requests(worker)) else {
                continue;
            };
            // Another request may be at the position of a released one.
            if !requests.released(position) {
                requests.flush_each(position);
            }
            slow.push(worker);
        }
        slow
    }

    /// Gives the tasks behind a long task to idle workers, and the tasks of a worker that starts none to any other.
    pub(in crate::pool) fn rebalance(&mut self) {
        if !self.is_balance_due() {
            return;
        }
        for _ in self.workers.keys() {
            let Some(worker) = self.schedule.stuck(&self.workers, self.now) else {
                return;
            };
            let queue = self.schedule.run_queue(worker);
            let tasks: Vec<_> = queue
                .map(|queue| queue.tasks().rev().map(|queued| queued.task).collect())
                .unwrap_or_default();
            let front = tasks.last().and_then(|&task| self.position(task));
            let mut started = false;
            for task in tasks {
                started |= !self.revoke(worker, task);
            }
            if let Some(position) = front.filter(|_| !started) {
                self.transition(worker, |life| life.suspect(position));
            }
            self.share_out();
        }
    }

    /// Clears suspect workers that were seen to run.
    pub(in crate::pool) fn clear_suspicions(&mut self) {
        self.for_each_due(|core, worker| {
            if core.was_seen_to_run(worker) {
                core.transition(worker, WorkerLife::clear_suspicion);
            }
        });
    }

    /// Whether a suspect worker has released the request that it had not started.
    fn was_seen_to_run(&mut self, worker: WorkerKey) -> bool {
        let Some(it) = self.workers.get_mut(worker) else {
            return false;
        };
        let (Some(position), Some(io)) = (it.life.suspect_at(), it.life.io_mut()) else {
            return false;
        };
        // The doorbell rings for the next release only, which may be of an older request. So the watch is renewed, and
        // the position is checked after that.
        io.requests.released(position) || !io.requests.watch() || io.requests.released(position)
    }

    /// Cuts the first waiting job into as many as there are idle workers.
    fn share_out(&mut self) {
        let idle = self.schedule.idle(&self.workers);
        let Some(first) = self.schedule.first_waiting() else {
            return;
        };
        for share in (2..=idle).rev() {
            let Some(record) = self.records.get_mut(first) else {
                return;
            };
            let items = record.job.items();
            if items >= share {
                let kept = items - items / share;
                let encoded = record.split_encoded(kept);
                let (rest, options) = (record.job.split(kept), record.call_options());
                self.records.recount(first);
                self.enqueue_front(rest, encoded, options);
            }
        }
    }
}
