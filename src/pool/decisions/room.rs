//! The core's topic: how much room a queue with limits has, and the waits for it.

use super::core::{Core, Effect, Phase};
use super::records::TaskRecord;
use crate::error::ErrorKind;
use crate::schedule::{QueuedTask, RunQueue};

impl Core {
    /// Whether there is room for one more task, whose arguments take `bytes`, and nothing waits that comes first.
    pub(in crate::pool) fn would_admit(&self, bytes: u64) -> bool {
        self.phase == Phase::Open && !self.admission.has_waiting() && self.has_room(bytes)
    }

    /// Gives a place for so many bytes, if there is room and nothing waits that comes first.
    pub(in crate::pool) fn try_give_place(&mut self, bytes: u64) -> bool {
        let gives = self.would_admit(bytes);
        if gives {
            self.admission.give(bytes);
        }
        gives
    }

    /// Gives places to what waits for them, in order.
    pub(in crate::pool) fn admit(&mut self) {
        while let Some(need) = self.admission.next() {
            if self.has_room(need.bytes) {
                let waker = self.admission.admit_next(self.now);
                self.effects.extend(waker.map(Effect::WakeTask));
            } else if !self.admission.lapse(self.now) {
                break;
            }
        }
        let lapse = self.admission.next_lapse();
        self.run_driver_by(lapse);
    }

    /// Ends all waits for a place, because the pool takes no tasks any more.
    pub(in crate::pool) fn refuse_waiting(&mut self) {
        let kind = match self.phase {
            Phase::Over if !self.lost_runtime => ErrorKind::Cancelled,
            _ => ErrorKind::Closed,
        };
        let wakers = self.admission.refuse_all(kind);
        self.effects
            .extend(wakers.into_iter().map(Effect::WakeTask));
    }

    /// Whether one more task may wait, whose arguments take `bytes`.
    fn has_room(&self, bytes: u64) -> bool {
        self.has_room_for_task() && self.has_room_for_bytes(bytes)
    }

    /// As many tasks as the workers run do not count as waiting: the number of places does not depend on what the
    /// workers are doing at the moment.
    fn has_room_for_task(&self) -> bool {
        let Some(limit) = self.settings.queue_limit else {
            return true;
        };
        let tasks = self.records.len() + self.admission.places();
        tasks < limit.saturating_add(self.most_running())
    }

    /// How many tasks the workers can run at the same time.
    pub(in crate::pool) fn most_running(&self) -> usize {
        self.bounds
            .max
            .saturating_mul(self.settings.tasks_per_worker)
    }

    /// Arguments that are longer than the limit have room when no others wait.
    pub(in crate::pool) fn has_room_for_bytes(&self, bytes: u64) -> bool {
        let Some(limit) = self.settings.queue_bytes else {
            return true;
        };
        // A length of 0 is not known yet.
        let needed = bytes.max(1);
        let fits = |waiting: u64| waiting == 0 || waiting.saturating_add(needed) <= limit;
        let given = self.admission.bytes();
        // The second looks at every worker.
        fits(self.records.bytes() + given) || fits(self.waiting_bytes() + given)
    }

    /// How long the encoded arguments of all tasks are that wait for a worker, or behind another task in one.
    pub(in crate::pool) fn waiting_bytes(&self) -> u64 {
        let keys = self.workers.keys();
        let queues = keys.filter_map(|worker| self.schedule.run_queue(worker));
        let fronts = queues.filter_map(RunQueue::front);
        let bytes = |front: QueuedTask| {
            let record = self.records.get(front.task);
            record.map_or(0, TaskRecord::bytes)
        };
        self.records.bytes().saturating_sub(fronts.map(bytes).sum())
    }
}
