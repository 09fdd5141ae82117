//! Moving unstarted tasks to workers that would start them sooner.

use std::sync::Arc;

use super::core::Core;
use crate::call::RequestWriter;
use crate::ring::Cursor;
use crate::schedule::WorkerKey;
use crate::sys::clock::Moment;

impl Core {
    /// When something must be looked at though nothing has happened.
    pub(super) fn next_look(&self) -> Option<Moment> {
        let deadlines = (0..self.workers.len()).filter_map(|worker| self.deadline(worker));
        let reopens = self
            .breaker
            .reopens()
            .filter(|_| self.schedule.waiting() > 0);
        deadlines.chain(self.balance()).chain(reopens).min()
    }

    /// When work may have to be given to idle workers.
    pub(super) fn balance(&self) -> Option<Moment> {
        let wait = self.schedule.look_again(self.now)?;
        Some(self.now.plus(wait))
    }

    /// Finds a batch that has given nothing for a while, and asks it for every outcome at once.
    pub(super) fn hurry_slow_batch(&mut self) -> Option<WorkerKey> {
        let (worker, task) = self.schedule.slow_batch(self.now)?;
        let (position, _) = self.position(task)?;
        let requests = self.requests(worker)?;
        // Another request may lie there by now.
        if !requests.released(position) {
            requests.flush_each(position);
        }
        Some(worker)
    }

    /// Gives what stands behind long work to idle workers, and what a worker does not begin to any other.
    pub(super) fn rebalance(&mut self) {
        for _ in 0..self.workers.len() {
            let Some(worker) = self.schedule.stuck(self.now) else {
                return;
            };
            let line = self.schedule.line(worker);
            let tasks: Vec<_> = line
                .map(|line| line.entries().rev().map(|entry| entry.task).collect())
                .unwrap_or_default();
            let front = tasks.last().and_then(|&task| self.position(task));
            let mut asleep = true;
            for task in tasks {
                asleep &= self.take_back(worker, task);
            }
            if let Some((position, _)) = front.filter(|_| asleep) {
                self.doubt(worker, position);
            }
            self.share_out();
        }
    }

    /// The worker has not begun what lies at `position`, and gets nothing else until it has passed it.
    fn doubt(&mut self, worker: WorkerKey, position: Cursor) {
        let Some(it) = self.workers.get_mut(worker).and_then(Option::as_mut) else {
            return;
        };
        if it.requests.as_mut().is_some_and(RequestWriter::watch) {
            it.doubted = Some(position);
            self.schedule.doubt(worker);
        }
    }

    /// Ends the doubts about workers that were seen to run.
    pub(super) fn trust(&mut self) {
        for (worker, it) in self.workers.iter_mut().enumerate() {
            let Some(it) = it.as_mut().filter(|it| it.doubted.is_some()) else {
                continue;
            };
            let passed = |position| {
                it.requests
                    .as_ref()
                    .is_some_and(|side| side.released(position))
            };
            if it.doubted.is_some_and(passed) {
                it.doubted = None;
                self.schedule.trust(worker);
            }
        }
    }

    /// Cuts the first waiting job into as many as there are idle workers.
    fn share_out(&mut self) {
        let idle = self.schedule.idle();
        let Some(first) = self.schedule.first_waiting() else {
            return;
        };
        let Some(record) = self.records.get_mut(first) else {
            return;
        };
        let (job, options) = (Arc::clone(&record.job), record.options);
        for share in (2..=idle).rev() {
            let items = job.items();
            if items < share {
                continue;
            }
            let tail = job.split(items - items / share);
            let key = self.records.insert(tail, options, self.now);
            self.schedule.submit_again(key, options.priority);
        }
    }
}
