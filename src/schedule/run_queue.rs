//! What one worker has before it.

use std::collections::VecDeque;
use std::time::Duration;

use super::TaskKey;
use crate::sys::clock::Moment;

/// A task in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) task: TaskKey,
    pub(crate) items: usize,
    /// It was given to the worker with more than one item: some may be done and not told, even if one is left.
    pub(crate) batch: bool,
}

/// The tasks one worker was given and has not finished, the running one first.
#[derive(Debug, Default)]
pub(crate) struct Line {
    entries: VecDeque<Entry>,
    open: bool,
    full: bool,
    /// The task in front was found to be slow.
    slow: Option<TaskKey>,
    moved: Moment,
    /// The first of them is known to run, and to run long.
    begun: bool,
    /// The worker was given something and did not begin it.
    doubted: bool,
}

impl Line {
    pub(super) fn open(&mut self, now: Moment) {
        self.open = true;
        self.moved = now;
    }

    pub(super) fn close(&mut self) {
        self.open = false;
    }

    /// Whether the worker would begin a task at once.
    pub(super) fn is_idle(&self) -> bool {
        self.is_trusted() && self.entries.is_empty()
    }

    pub(super) fn begun(&mut self) {
        self.begun = true;
    }

    pub(super) fn doubt(&mut self, doubted: bool) {
        self.doubted = doubted;
    }

    /// Whether the worker takes tasks, and there is no reason to think that it does not run.
    pub(super) fn is_trusted(&self) -> bool {
        self.open && !self.doubted
    }

    /// Whether it is not known that the worker has begun what it was given.
    pub(super) fn is_unbegun(&self) -> bool {
        !self.begun && !self.entries.is_empty()
    }

    pub(super) fn fill(&mut self) {
        self.full = true;
    }

    pub(super) fn unfill(&mut self) {
        self.full = false;
    }

    pub(super) fn has_room(&self, depth: usize) -> bool {
        // Nothing has to wait behind what is known to run long.
        self.is_trusted() && !self.full && !self.begun && self.entries.len() < depth
    }

    /// How many tasks stand in it.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The tasks in order, the running one first.
    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = Entry> + '_ {
        self.entries.iter().copied()
    }

    /// The task that runs, or will next.
    pub(crate) fn front(&self) -> Option<Entry> {
        self.entries.front().copied()
    }

    pub(super) fn into_entries(self) -> VecDeque<Entry> {
        self.entries
    }

    pub(super) fn push(&mut self, entry: Entry, now: Moment) {
        if self.entries.is_empty() {
            self.moved = now;
            self.begun = false;
        }
        self.entries.push_back(entry);
    }

    pub(super) fn moved(&mut self, now: Moment) {
        self.moved = now;
        self.full = false;
        self.begun = false;
    }

    pub(super) fn remove(&mut self, task: TaskKey) {
        if let Some(index) = self.entries.iter().position(|entry| entry.task == task) {
            self.entries.remove(index);
        }
    }

    pub(super) fn shorten(&mut self, task: TaskKey, items: usize) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.task == task) {
            entry.items = items;
        }
    }

    /// Whether what runs is a batch, not yet known to be slow.
    pub(super) fn may_be_slow(&self) -> Option<TaskKey> {
        let front = self.entries.front()?;
        (front.batch && self.slow != Some(front.task)).then_some(front.task)
    }

    pub(super) fn is_slow(&mut self, task: TaskKey) {
        self.slow = Some(task);
    }

    /// How many items there are, the running one among them.
    pub(super) fn backlog(&self) -> usize {
        self.entries.iter().map(|entry| entry.items).sum()
    }

    pub(super) fn since_move(&self, now: Moment) -> Duration {
        now.since(self.moved)
    }
}
