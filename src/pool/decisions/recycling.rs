//! The core's topic: workers that leave in an orderly way, and what takes their place.
//!
//! A worker whose tasks are used up takes no more, and its replacement starts while it finishes those it has. A worker
//! that is only old takes tasks until its replacement is ready. Either way the replacement has the same number and is on
//! **standby**: it takes no task before the other has finished its last. So no more tasks run at a time than the pool has
//! workers, and a pool of one worker runs its tasks in order.

use super::core::Core;
use super::departure::Departure;
use super::restart::RestartStep;
use super::worker_table::Worker;
use crate::pool::monitoring::pool_event::PoolEvent;
use crate::pool::monitoring::recycle_reason::RecycleReason;
use crate::schedule::{TaskKey, WorkerKey};
use crate::sys::clock::Moment;

/// Decisions.
impl Core {
    /// The worker takes tasks until its replacement is ready, and leaves then.
    fn leave_when_replaced(&mut self, worker: WorkerKey, why: RecycleReason) {
        let Some(it) = self.workers.get_mut(worker) else {
            return;
        };
        if it.is_alive() && !it.departure.is_decided() {
            it.departure = Departure::WhenReplaced(why);
            self.check_missing = true;
        }
    }

    /// The worker takes no more tasks, and leaves when it has finished those it has.
    pub(in crate::pool) fn leave_after_last_task(
        &mut self,
        worker: WorkerKey,
        why: Option<RecycleReason>,
    ) {
        let first = self.workers.first_lane(worker);
        let Some(it) = self.workers.get(first) else {
            return;
        };
        if !it.is_alive() || it.departure.is_final() {
            return;
        }
        for lane in self.workers.lanes(first) {
            if let Some(it) = self.workers.get_mut(lane) {
                it.departure = Departure::AfterLastTask(why);
            }
        }
        if let Some(why) = why {
            self.counts.recycled += 1;
            self.tell(|| PoolEvent::WorkerRecycled { why });
        }
        self.check_missing = true;
    }

    /// As [`Core::leave_after_last_task`], and gives the tasks that it has not started back.
    pub(in crate::pool) fn leave_after_this_task(
        &mut self,
        worker: WorkerKey,
        why: Option<RecycleReason>,
    ) {
        self.leave_after_last_task(worker, why);
        for lane in self.workers.lanes(worker) {
            let queue = self.schedule.run_queue(lane);
            let tasks: Vec<TaskKey> = queue
                .map(|queue| queue.tasks().rev().map(|queued| queued.task).collect())
                .unwrap_or_default();
            for task in tasks {
                self.revoke(lane, task);
            }
        }
    }

    /// The worker has used up `items` of the tasks that it may run.
    pub(in crate::pool) fn use_quota(&mut self, worker: WorkerKey, items: usize) {
        let first = self.workers.first_lane(worker);
        let Some(it) = self.workers.get_mut(first) else {
            return;
        };
        it.quota = it.quota.saturating_sub(items as u64);
        if it.quota == 0 {
            self.leave_after_last_task(worker, Some(RecycleReason::MaxTasks));
        }
    }

    /// Leaves a task no more items than the worker may run. The others wait as a task of their own.
    pub(in crate::pool) fn cut_to_quota(&mut self, worker: WorkerKey, key: TaskKey) {
        let first = self.workers.first_lane(worker);
        let quota = self.workers.get(first).map_or(u64::MAX, |it| it.quota);
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        if record.job.items() as u64 > quota {
            let kept = (quota as usize).max(1);
            let rest = record.split_encoded(kept);
            self.queue_rest(key, kept, rest);
        }
    }
}

/// What time brings.
impl Core {
    /// Replaces workers that are old enough, and ends workers that have finished their last task.
    pub(in crate::pool) fn recycle(&mut self) {
        self.for_each_due(Self::recycle_one);
        self.restart_next();
    }

    fn recycle_one(&mut self, worker: WorkerKey) {
        let it = self.workers.get(worker);
        let Some(it) = it.filter(|it| it.is_alive() && it.is_first_lane()) else {
            return;
        };
        let is_old = self.expiry(worker).is_some_and(|at| at <= self.now);
        match it.departure {
            Departure::No if is_old => self.leave_when_replaced(worker, RecycleReason::MaxAge),
            Departure::WhenReplaced(why) if self.has_ready_successor(it.number) => {
                self.leave_after_this_task(worker, Some(why));
            }
            _ => {}
        }
        self.end_if_finished(worker);
    }

    /// When the worker is old enough, if it stays until then.
    pub(in crate::pool) fn expiry(&self, worker: WorkerKey) -> Option<Moment> {
        let it = self.workers.get(worker)?;
        let stays = it.is_alive() && !it.departure.is_decided() && !it.standby;
        it.expires.filter(|_| stays)
    }

    /// Whether a replacement of the worker with this number could take tasks.
    fn has_ready_successor(&self, number: usize) -> bool {
        let mut workers = self.workers.iter().map(|(_, it)| it);
        workers.any(|it| it.number == number && it.standby && it.life.takes_tasks())
    }

    /// A worker with this number has finished its last task, or is gone: its replacement takes tasks. It does not if the
    /// worker that is gone was replaced long ago, and another with this number still has tasks.
    pub(in crate::pool) fn promote_successor(&mut self, number: usize) {
        let has_tasks =
            |(_, it): (WorkerKey, &Worker)| it.number == number && it.is_alive() && !it.standby;
        if self.workers.iter().any(has_tasks) {
            return;
        }
        for (_, it) in self.workers.iter_mut() {
            if it.number == number && std::mem::take(&mut it.standby) {
                it.idle_since = self.now;
                self.schedule.workers_changed();
            }
        }
    }

    /// Restarts the next worker of a restart, once the last has left.
    fn restart_next(&mut self) {
        while let Some(step) = self.restarts.next(&self.workers, self.breaker.is_open()) {
            match step {
                RestartStep::Wait => return,
                RestartStep::Replace(worker) => {
                    self.leave_when_replaced(worker, RecycleReason::Restarted);
                }
            }
        }
    }
}
