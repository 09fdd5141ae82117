//! Where tasks with a key go. Pure, as the whole schedule; `affinity` has the memory of it.

use super::affinity::{HeldTask, LastWorker, MOST_HELD};
use super::{AffinityKey, RunQueue, Schedule, TakesTasks, TaskKey, WorkerKey};
use crate::sys::clock::Moment;

impl Schedule {
    /// A task with a key has its turn, and the run queue of `shortest` is the shortest. `None` if the task is held
    /// back.
    pub(super) fn assign(
        &mut self,
        task: TaskKey,
        key: AffinityKey,
        shortest: WorkerKey,
        workers: &impl TakesTasks,
        now: Moment,
    ) -> Option<(WorkerKey, TaskKey)> {
        let last = self
            .last_worker_of(key, workers)
            .filter(|&last| last != shortest);
        let Some(last) = last else {
            return self.send_and_remember(task, key, shortest);
        };
        if self.is_free(last, shortest) {
            return self.send_and_remember(task, key, last);
        }
        if self.held.len() >= MOST_HELD {
            return self.send_and_remember(task, key, shortest);
        }
        self.held.push(HeldTask {
            task,
            key,
            since: now,
        });
        None
    }

    /// A task that was held back and can be sent now: because its worker is free or gone, or because it has waited for
    /// long enough.
    pub(super) fn next_held(
        &mut self,
        shortest: WorkerKey,
        workers: &impl TakesTasks,
        now: Moment,
    ) -> Option<(WorkerKey, TaskKey)> {
        let (at, worker) = self.held.iter().enumerate().find_map(|(at, held)| {
            let Some(last) = self.last_worker_of(held.key, workers) else {
                return Some((at, shortest));
            };
            match self.is_free(last, shortest) {
                true => Some((at, last)),
                false => held.is_impatient(now).then_some((at, shortest)),
            }
        })?;
        let held = self.held.remove(at);
        self.send_and_remember(held.task, held.key, worker)
    }

    /// The task that was held back first, if `shortest` is idle.
    pub(super) fn first_held(&mut self, shortest: WorkerKey) -> Option<(WorkerKey, TaskKey)> {
        if self.held.is_empty() || !self.is_idle(shortest) {
            return None;
        }
        let held = self.held.remove(0);
        self.send_and_remember(held.task, held.key, shortest)
    }

    /// Removes a task that was cancelled. False if it was not held back.
    pub(super) fn forget_held(&mut self, task: TaskKey) -> bool {
        let at = self.held.iter().position(|held| held.task == task);
        at.map(|at| self.held.remove(at)).is_some()
    }

    /// Sends the task to `worker`, which has the key from now on.
    fn send_and_remember(
        &mut self,
        task: TaskKey,
        key: AffinityKey,
        worker: WorkerKey,
    ) -> Option<(WorkerKey, TaskKey)> {
        let serial = self.run_queues.get(worker)?.serial();
        self.last_workers.set(key, LastWorker { worker, serial });
        Some((worker, task))
    }

    /// The worker that last had the key, if it still takes tasks: of those in its process, the one with the shortest
    /// queue.
    fn last_worker_of(&self, key: AffinityKey, workers: &impl TakesTasks) -> Option<WorkerKey> {
        let LastWorker { worker, serial } = self.last_workers.get(key)?;
        if self.run_queues.get(worker)?.serial() != serial {
            return None;
        }
        let queued = |it| self.run_queues.get(it).map(RunQueue::expected);
        let taking = workers
            .same_process(worker)
            .filter(|&it| workers.takes_tasks(it));
        // Of several that are equal, the worker itself.
        taking.min_by_key(|&it| (queued(it), it != worker))
    }

    /// Whether a task may be sent to `last` now. It must not wait there while another worker is idle.
    fn is_free(&self, last: WorkerKey, shortest: WorkerKey) -> bool {
        let has_room = |queue: &RunQueue| queue.has_room(self.depth());
        let has_room = self.run_queues.get(last).is_some_and(has_room);
        has_room && (self.is_idle(last) || !self.is_idle(shortest))
    }

    fn is_idle(&self, worker: WorkerKey) -> bool {
        let queue = self.run_queues.get(worker);
        queue.is_some_and(|queue| queue.expected() == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Priority;
    use super::*;

    /// Workers 0 and 1 are of one process, 2 and 3 of another. All take tasks.
    struct Pairs;

    impl TakesTasks for Pairs {
        fn takes_tasks(&self, _worker: WorkerKey) -> bool {
            true
        }

        fn same_process(&self, worker: WorkerKey) -> impl Iterator<Item = WorkerKey> {
            [worker & !1, worker | 1].into_iter()
        }
    }

    #[test]
    fn key_leads_to_the_worker_in_the_same_process_that_has_fewer_tasks() {
        let mut schedule = Schedule::default();
        let now = Moment::from_bits(0);
        assert_eq!([(); 4].map(|()| schedule.add_worker()), [0, 1, 2, 3]);
        let mut send = |task| {
            let key = AffinityKey::of(&"a");
            schedule.submit(task, Priority::Normal, Some(key));
            let (worker, task) = schedule.next(&Pairs, now)?;
            schedule.sent(worker, task, 1, now);
            Some(worker)
        };
        assert_eq!([send(1), send(2), send(3)], [Some(0), Some(1), Some(2)]);
        assert_eq!([send(4), send(5)], [Some(3), None]);
    }
}
