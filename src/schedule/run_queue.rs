//! The tasks of one worker: sent to it, and not finished.

use std::collections::VecDeque;
use std::time::Duration;

use super::TaskKey;
use crate::sys::clock::Moment;

/// A task in a run queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueuedTask {
    pub(crate) task: TaskKey,
    /// Items without an outcome, the running item among them.
    pub(crate) items: usize,
    /// Whether the worker was sent more than one item. Then finished items may wait in an open reply, even when only
    /// one item is left.
    pub(crate) batch: bool,
}

/// The tasks of one worker, the running task first.
#[derive(Debug, Default)]
pub(crate) struct RunQueue {
    tasks: VecDeque<QueuedTask>,
    /// How many tasks will be sent when they are ready.
    reserved: usize,
    /// Whether the request ring had no space for the last task.
    full: bool,
    /// The front task, if it was found to be a slow batch.
    slow: Option<TaskKey>,
    last_progress: Moment,
    /// Whether the front task is known to run, and to run long.
    front_runs: bool,
    /// The number of its worker among all workers that were ever added.
    serial: u64,
}

impl RunQueue {
    /// An empty queue of the `serial`-th worker.
    pub(super) fn new(serial: u64) -> Self {
        Self {
            serial,
            ..Self::default()
        }
    }

    /// The number of its worker among all workers that were ever added.
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// How many tasks are in the queue.
    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// How many tasks are in the queue, or will be sent when they are ready.
    pub(super) fn expected(&self) -> usize {
        self.tasks.len() + self.reserved
    }

    pub(super) fn reserve(&mut self) {
        self.reserved += 1;
    }

    pub(super) fn unreserve(&mut self) {
        // Another worker may have the key of the worker for which it was reserved.
        self.reserved = self.reserved.saturating_sub(1);
    }

    /// The tasks in order, the running task first.
    pub(crate) fn tasks(&self) -> impl DoubleEndedIterator<Item = QueuedTask> + '_ {
        self.tasks.iter().copied()
    }

    /// The task that runs, or will run next.
    pub(crate) fn front(&self) -> Option<QueuedTask> {
        self.tasks.front().copied()
    }

    pub(super) fn into_tasks(self) -> VecDeque<QueuedTask> {
        self.tasks
    }

    /// Whether one more task can be sent, if at most `depth` may be in the queue.
    pub(super) fn has_room(&self, depth: usize) -> bool {
        // No task waits behind a task that is known to run long.
        !self.full && !self.front_runs && self.expected() < depth
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    pub(super) fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    pub(super) fn push(&mut self, task: QueuedTask, now: Moment) {
        if self.tasks.is_empty() {
            self.last_progress = now;
            self.front_runs = false;
        }
        self.tasks.push_back(task);
    }

    /// Outcomes have arrived.
    pub(super) fn progress(&mut self, now: Moment) {
        self.last_progress = now;
        self.full = false;
        self.front_runs = false;
    }

    pub(super) fn remove(&mut self, task: TaskKey) {
        if let Some(index) = self.tasks.iter().position(|queued| queued.task == task) {
            self.tasks.remove(index);
        }
    }

    pub(super) fn set_items(&mut self, task: TaskKey, items: usize) {
        if let Some(queued) = self.tasks.iter_mut().find(|queued| queued.task == task) {
            queued.items = items;
        }
    }

    pub(super) fn set_front_runs(&mut self) {
        self.front_runs = true;
    }

    /// Whether the worker has tasks and is not known to have started the front task.
    pub(super) fn may_be_unstarted(&self) -> bool {
        !self.front_runs && !self.tasks.is_empty()
    }

    /// The front task, if it is a batch that was not found to be slow yet.
    pub(super) fn unmarked_batch(&self) -> Option<TaskKey> {
        let front = self.tasks.front()?;
        (front.batch && self.slow != Some(front.task)).then_some(front.task)
    }

    pub(super) fn mark_slow(&mut self, task: TaskKey) {
        self.slow = Some(task);
    }

    /// How many items have no outcome, the running item among them.
    pub(super) fn backlog(&self) -> usize {
        self.tasks.iter().map(|queued| queued.items).sum()
    }

    /// Whether nothing is in the queue, nor will be sent.
    pub(crate) fn is_finished(&self) -> bool {
        self.expected() == 0
    }

    /// When the front task was sent or outcomes have arrived.
    pub(crate) fn last_progress(&self) -> Moment {
        self.last_progress
    }

    /// The time since the front task was sent or outcomes have arrived.
    pub(crate) fn since_progress(&self, now: Moment) -> Duration {
        now.since(self.last_progress)
    }
}
