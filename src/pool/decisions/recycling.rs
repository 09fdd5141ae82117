//! The core's topic: workers that leave in an orderly way, and what takes their place.
//!
//! A worker whose tasks are used up takes no more, and its replacement starts while it finishes those it has. A worker
//! that is only old takes tasks until its replacement is ready. Either way the replacement has the same number and is
//! on **standby**: it takes no task before the other has finished its last. So no more tasks run at a time than the
//! pool has workers, and a pool of one worker runs its tasks in order. Of workers with several lanes, a lane of the
//! replacement takes tasks for each lane of the other that has finished: a long task does not keep the others waiting.

use super::core::{Core, Effect};
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

    /// The worker has lost a task that it had, without a reply. If it leaves, it may have nothing more to do: the
    /// driver must look, which may sleep.
    pub(in crate::pool) fn may_have_finished(&mut self, worker: WorkerKey) {
        let it = self.workers.get(worker);
        if it.is_some_and(|it| it.departure.is_final()) {
            self.effects.push(Effect::WakeDriver);
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
        let it = self.workers.get(worker).filter(|it| it.is_first_lane());
        let Some(it) = it else {
            return;
        };
        if !it.is_alive() {
            return self.end_if_drained(worker);
        }
        let is_old = self.expiry(worker).is_some_and(|at| at <= self.now);
        match it.departure {
            Departure::No if is_old => self.leave_when_replaced(worker, RecycleReason::MaxAge),
            Departure::WhenReplaced(why) if self.has_ready_successor(it.number) => {
                self.leave_after_this_task(worker, Some(why));
            }
            Departure::AfterLastTask(_) => self.promote_successor(it.number),
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

    /// Lanes of workers with this number have finished their last tasks, or are gone: as many lanes of the replacement
    /// take tasks. A worker that is gone may have been replaced long ago, and another with this number still has tasks.
    pub(in crate::pool) fn promote_successor(&mut self, number: usize) {
        let same = self.workers.iter().filter(|(_, it)| it.number == number);
        let (waiting, others): (Vec<_>, Vec<_>) = same.partition(|(_, it)| it.standby);
        let occupied = others.iter().filter(|(lane, _)| self.is_occupied(*lane));
        let places = self.settings.tasks_per_worker;
        let free = places.saturating_sub(occupied.count());
        let staying = waiting.iter().filter(|(_, it)| it.departure.allows_tasks());
        let lanes = staying.map(|(lane, it)| (it.is_first_lane(), *lane));
        let mut lanes: Vec<_> = lanes.collect();
        // The first lane last: it stands for the worker.
        lanes.sort_unstable();
        for (_, lane) in lanes.into_iter().take(free) {
            if let Some(it) = self.workers.get_mut(lane) {
                it.standby = false;
                it.idle_since = self.now;
            }
            self.schedule.workers_changed();
        }
    }

    /// Whether a lane has a task, may be given one, or runs the exit function. Otherwise a pool whose exit function
    /// takes long would have ever more processes that leave.
    pub(in crate::pool) fn is_occupied(&self, lane: WorkerKey) -> bool {
        let stays = |it: &Worker| it.is_alive() || it.life.is_leaving();
        let it = self.workers.get(lane).filter(|it| stays(it));
        it.is_some_and(|it| match it.exit_stage.is_under_way() {
            true => true,
            false if !it.is_alive() => false,
            false => it.departure.allows_tasks() || !self.has_lane_finished(lane),
        })
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
