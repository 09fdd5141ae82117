//! Which task runs where, and when. A pure state machine: events in, decisions out.
//!
//! Waiting tasks are in three queues, one for each priority ([`PriorityQueue`]). A task with a key is held back for a
//! while, if the worker that last had the key is busy (`keyed`, `affinity`). Every worker has a **run queue**: the task
//! it runs and a few tasks behind it (the *prefetch*), so that a worker never waits for the parent between two tasks.
//! The depth follows from how long tasks take: the prefetch lasts longer than the parent takes to notice a reply, and
//! no longer. A prefetched task that was not started can be revoked, when another worker is idle and this worker has
//! made no progress for a while.
//!
//! Runs in the application. Must stay true: a task is in at most one queue. Never here: a clock, a descriptor, a
//! future, the life of a worker. Time is a number that comes with the event; whether a worker takes tasks is asked
//! ([`TakesTasks`]).

mod affinity;
mod growth;
mod keyed;
mod mean_time;
mod priority;
mod priority_queue;
mod run_queue;
mod start_breaker;
mod stuck;

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use affinity::{HeldTask, LastWorkers};
use slab::Slab;

pub(crate) use affinity::AffinityKey;
pub(crate) use mean_time::MeanTime;
pub use priority::Priority;
pub(crate) use priority_queue::PriorityQueue;
pub(crate) use run_queue::{QueuedTask, RunQueue};
pub(crate) use start_breaker::{StartBreaker, StartFailure};

use crate::sys::clock::Moment;

/// Identifies a worker for as long as the schedule knows it.
pub(crate) type WorkerKey = usize;

/// Identifies a task.
pub(crate) type TaskKey = u64;

/// Which workers take tasks.
pub(crate) trait TakesTasks {
    /// Whether the worker takes tasks, and there is no reason to think that it does not run.
    fn takes_tasks(&self, worker: WorkerKey) -> bool;

    /// The workers in the same process, this one among them. They share what was made for a key.
    fn same_process(&self, worker: WorkerKey) -> impl Iterator<Item = WorkerKey> {
        std::iter::once(worker)
    }
}

/// A run queue should hold work for this long: several times what the parent takes to notice a reply.
const PREFETCH_SPAN: Duration = Duration::from_micros(300);

/// The shortest run queue for tasks that are not long: one runs, one waits.
const MIN_PREFETCH: usize = 2;

/// The longest run queue, for tasks of no length. Bounds what the death of one worker sends back to the queues.
const MAX_PREFETCH: usize = 128;

/// Tasks of this length are not prefetched: the gap between two of them is nothing beside them, and the first worker
/// that becomes free takes the next.
const LONG_TASK: Duration = Duration::from_millis(20);

/// Cancelled tasks that may stay in the queues until their turn comes, if as many others wait.
const MAX_CANCELLED: usize = 64;

/// The share of the newest task in the mean time of a task.
const NEWEST_SHARE: f64 = 1.0 / 8.0;

/// A task that waits for a worker.
#[derive(Debug, Clone, Copy)]
struct WaitingTask {
    task: TaskKey,
    /// Tasks with the same key go to the same worker, if it is free soon.
    key: Option<AffinityKey>,
}

/// The queues of a pool. See the module.
#[derive(Debug)]
pub(crate) struct Schedule {
    waiting: PriorityQueue<WaitingTask>,
    /// Tasks that had their turn, from the first on, and wait for the worker that last had their key.
    held: Vec<HeldTask>,
    last_workers: LastWorkers,
    /// How many workers were added.
    added: u64,
    /// Tasks that were cancelled while they waited, and are skipped when their turn comes.
    cancelled: HashSet<TaskKey>,
    run_queues: Slab<RunQueue>,
    mean_time: MeanTime,
    /// Whether no worker had room when the schedule last checked, and nothing has changed since.
    no_room: bool,
    /// What [`Schedule::next_check`] found, if nothing has changed since.
    check: Option<Option<Moment>>,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            waiting: PriorityQueue::default(),
            held: Vec::new(),
            last_workers: LastWorkers::default(),
            added: 0,
            cancelled: HashSet::new(),
            run_queues: Slab::new(),
            mean_time: MeanTime::new(NEWEST_SHARE),
            no_room: false,
            check: None,
        }
    }
}

/// Workers.
impl Schedule {
    /// A worker is being started.
    pub(crate) fn add_worker(&mut self) -> WorkerKey {
        self.check = None;
        self.added += 1;
        self.run_queues.insert(RunQueue::new(self.added))
    }

    /// The worker is gone. Returns its run queue, in order.
    pub(crate) fn remove_worker(&mut self, worker: WorkerKey) -> VecDeque<QueuedTask> {
        self.check = None;
        match self.run_queues.try_remove(worker) {
            Some(queue) => queue.into_tasks(),
            None => VecDeque::new(),
        }
    }

    /// The worker's run queue.
    pub(crate) fn run_queue(&self, worker: WorkerKey) -> Option<&RunQueue> {
        self.run_queues.get(worker)
    }

    /// Whether the worker has no task, has space for one, and will not be sent a task that is not ready yet.
    pub(crate) fn has_nothing(&self, worker: WorkerKey) -> bool {
        let queue = self.run_queues.get(worker);
        queue.is_some_and(|queue| queue.expected() == 0 && !queue.is_full())
    }

    /// Some worker takes tasks that did not before, or does not any more.
    pub(crate) fn workers_changed(&mut self) {
        self.no_room = false;
        self.check = None;
    }

    /// A worker may have room, whatever the schedule knows.
    pub(crate) fn look_again(&mut self) {
        self.no_room = false;
    }

    /// How many workers take tasks and have none.
    pub(crate) fn idle(&self, workers: &impl TakesTasks) -> usize {
        let empty = self
            .run_queues
            .iter()
            .filter(|(_, queue)| queue.expected() == 0);
        empty.filter(|(key, _)| workers.takes_tasks(*key)).count()
    }
}

/// Waiting tasks.
impl Schedule {
    /// A task was submitted.
    pub(crate) fn submit(&mut self, task: TaskKey, priority: Priority, key: Option<AffinityKey>) {
        self.check = None;
        self.waiting.push_back(WaitingTask { task, key }, priority);
    }

    /// A task that had been sent to a worker waits again, before all others of its priority.
    pub(crate) fn submit_front(
        &mut self,
        task: TaskKey,
        priority: Priority,
        key: Option<AffinityKey>,
    ) {
        self.check = None;
        self.waiting.push_front(WaitingTask { task, key }, priority);
    }

    /// A waiting task was cancelled.
    pub(crate) fn cancel_waiting(&mut self, task: TaskKey) {
        self.check = None;
        if self.forget_held(task) {
            return;
        }
        self.cancelled.insert(task);
        // While no worker takes tasks, cancelled ones must not pile up.
        if self.cancelled.len() > MAX_CANCELLED && self.waiting() < self.cancelled.len() {
            let cancelled = std::mem::take(&mut self.cancelled);
            self.waiting.retain(|it| !cancelled.contains(&it.task));
        }
    }

    /// How many tasks wait for a worker.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len() - self.cancelled.len() + self.held.len()
    }

    /// The waiting task that is sent next.
    pub(crate) fn first_waiting(&self) -> Option<TaskKey> {
        let is_wanted = |it: &&WaitingTask| !self.cancelled.contains(&it.task);
        let first = self.waiting.first().filter(is_wanted);
        let first = first.or_else(|| self.waiting.iter().find(is_wanted));
        first.map(|it| it.task)
    }

    /// Takes every waiting task.
    pub(crate) fn take_waiting(&mut self) -> Vec<TaskKey> {
        self.check = None;
        let cancelled = std::mem::take(&mut self.cancelled);
        let held = std::mem::take(&mut self.held).into_iter();
        let waiting = self.waiting.take_all().into_iter();
        let mut tasks: Vec<_> = held.map(|it| it.task).collect();
        tasks.extend(
            waiting
                .map(|it| it.task)
                .filter(|it| !cancelled.contains(it)),
        );
        tasks
    }

    /// The next task, and the worker to send it to. The caller reports the result with [`Schedule::sent`],
    /// [`Schedule::no_space`] or [`Schedule::submit_front`].
    pub(crate) fn next(
        &mut self,
        workers: &impl TakesTasks,
        now: Moment,
    ) -> Option<(WorkerKey, TaskKey)> {
        if self.no_room || self.waiting() == 0 {
            return None;
        }
        let Some(worker) = self.shortest_queue(workers) else {
            self.no_room = true;
            return None;
        };
        self.check = None;
        if !self.held.is_empty() {
            if let Some(held) = self.next_held(worker, workers, now) {
                return Some(held);
            }
        }
        while let Some(next) = self.pop_waiting() {
            match next.key {
                None => return Some((worker, next.task)),
                Some(key) => {
                    let assigned = self.assign(next.task, key, worker, workers, now);
                    if assigned.is_some() {
                        return assigned;
                    }
                }
            }
        }
        // Only tasks that are held back wait.
        self.first_held(worker)
    }

    fn shortest_queue(&self, workers: &impl TakesTasks) -> Option<WorkerKey> {
        let depth = self.depth();
        let with_room = self
            .run_queues
            .iter()
            .filter(|(worker, queue)| queue.has_room(depth) && workers.takes_tasks(*worker));
        let shortest = with_room.min_by_key(|(_, queue)| queue.expected());
        shortest.map(|(worker, _)| worker)
    }

    /// How many tasks a run queue may hold.
    fn depth(&self) -> usize {
        match self.mean_time.tasks_in(PREFETCH_SPAN) {
            Some(tasks) if self.mean_time.get() < Some(LONG_TASK) => {
                tasks.clamp(MIN_PREFETCH, MAX_PREFETCH)
            }
            // While the time of a task is unknown no task is prefetched: other workers may be starting.
            _ => 1,
        }
    }

    fn pop_waiting(&mut self) -> Option<WaitingTask> {
        while !self.cancelled.is_empty() {
            let first = self.waiting.first()?;
            if !self.cancelled.remove(&first.task) {
                break;
            }
            self.waiting.discard_first();
        }
        self.waiting.pop()
    }
}

/// Tasks in run queues.
impl Schedule {
    /// The worker was sent `items` items of `task`.
    pub(crate) fn sent(&mut self, worker: WorkerKey, task: TaskKey, items: usize, now: Moment) {
        if let Some(queue) = self.queue_mut(worker) {
            let batch = items > 1;
            queue.push(QueuedTask { task, items, batch }, now);
        }
    }

    /// A task that is not ready yet will be sent to the worker.
    pub(crate) fn reserve(&mut self, worker: WorkerKey) {
        if let Some(queue) = self.queue_mut(worker) {
            queue.reserve();
        }
    }

    /// Such a task was sent to the worker, or is not any more.
    pub(crate) fn unreserve(&mut self, worker: WorkerKey) {
        if let Some(queue) = self.queue_mut(worker) {
            queue.unreserve();
        }
    }

    /// The worker's request ring has no space until the worker has finished something.
    pub(crate) fn no_space(&mut self, worker: WorkerKey) {
        if let Some(queue) = self.queue_mut(worker) {
            queue.set_full(true);
        }
    }

    /// The worker's request ring may have space again.
    pub(crate) fn may_have_space(&mut self, worker: WorkerKey) {
        if self.run_queues.get(worker).is_some_and(RunQueue::is_full) {
            if let Some(queue) = self.queue_mut(worker) {
                queue.set_full(false);
            }
        }
    }

    /// The worker has finished `task`, whose items took `took` together.
    pub(crate) fn finished(
        &mut self,
        worker: WorkerKey,
        task: TaskKey,
        took: Duration,
        now: Moment,
    ) {
        if let Some(queue) = self.queue_mut(worker) {
            queue.progress(now);
            queue.remove(task);
        }
        self.mean_time.add(took, 1);
    }

    /// The worker has finished some items of `task`; `left` have no outcome.
    pub(crate) fn progress(&mut self, worker: WorkerKey, task: TaskKey, left: usize, now: Moment) {
        if let Some(queue) = self.queue_mut(worker) {
            queue.progress(now);
            queue.set_items(task, left.max(1));
        }
    }

    /// `task` was revoked before the worker started it.
    pub(crate) fn revoked(&mut self, worker: WorkerKey, task: TaskKey) {
        if let Some(queue) = self.queue_mut(worker) {
            queue.remove(task);
        }
    }

    /// The unstarted items of `task` were revoked; the worker runs the last item it has.
    pub(crate) fn revoked_rest(&mut self, worker: WorkerKey, task: TaskKey) {
        if let Some(queue) = self.queue_mut(worker) {
            queue.set_front_runs();
            queue.set_items(task, 1);
        }
    }

    fn queue_mut(&mut self, worker: WorkerKey) -> Option<&mut RunQueue> {
        self.no_room = false;
        self.check = None;
        self.run_queues.get_mut(worker)
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
