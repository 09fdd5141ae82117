//! Ending a worker because of the task it runs, and no other.
//!
//! A worker may finish the task and begin the next one at any moment. So everything behind the task
//! is taken back first: what could be taken back will not be started here, and what could not be was
//! started, which proves that the task is over and nothing need be killed.

use super::core::{Core, Effect};
use super::records::Place;
use super::worker_state::PendingKill;
use crate::call::job::GroupId;
use crate::error::ErrorKind;
use crate::schedule::{Line, TaskKey, WorkerKey};
use crate::sys::clock::Moment;
use crate::transfer::messages::ToWorker;

impl Core {
    /// A task is not wanted any more, wherever it is.
    pub(super) fn cancel(&mut self, key: TaskKey) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        record.cancelled = true;
        match record.place {
            Place::Waiting => {
                self.schedule.withdraw(key);
                self.end_unstarted(key, ErrorKind::Cancelled);
            }
            Place::Packing => self.end_unstarted(key, ErrorKind::Cancelled),
            Place::Sent { worker, .. } => self.stop_running(worker, key, ErrorKind::Cancelled),
        }
    }

    /// No task of this group is wanted any more.
    pub(super) fn cancel_group(&mut self, group: GroupId) {
        let mut members = self.records.keys();
        // All are marked before the first is cancelled: what is taken back on the way ends as well.
        members.retain(|&key| {
            let record = self.records.get_mut(key);
            let member = record.filter(|it| it.job.group() == Some(group));
            member.map(|it| it.cancelled = true).is_some()
        });
        for key in members {
            self.cancel(key);
        }
    }

    /// Ends a task that was never started.
    pub(super) fn end_unstarted(&mut self, key: TaskKey, kind: ErrorKind) {
        if let Some(record) = self.records.remove(key) {
            self.end_all(&record.job, kind);
            self.discard(record);
        }
    }

    /// Ends `task`, which stands in the worker's line, with an error of `kind`.
    pub(super) fn stop_running(&mut self, worker: WorkerKey, task: TaskKey, kind: ErrorKind) {
        if self.workers[worker]
            .as_ref()
            .is_none_or(|it| it.doom.is_some())
        {
            return;
        }
        if self.clear_behind(worker, task) {
            return; // it is over: its reply is on the way
        }
        let Some((position, _)) = self.position(task) else {
            return;
        };
        let Some(requests) = self.requests(worker) else {
            return;
        };
        if requests.released(position) {
            return; // likewise
        }
        let claimed = requests.revoke(position);
        if claimed == 0 {
            self.schedule.taken_back(worker, task);
            self.end_unstarted(task, kind);
            return;
        }
        self.requeue_tail(worker, task, claimed, kind);
        if kind == ErrorKind::TimedOut && self.deadline(worker).is_none_or(|at| at > self.now) {
            return; // a batch, and it has moved on to its next item meanwhile
        }
        self.condemn(worker, task, kind);
    }

    fn condemn(&mut self, worker: WorkerKey, task: TaskKey, kind: ErrorKind) {
        let grace = self.settings.cancel_grace;
        let at = self.now.plus(grace);
        self.schedule.close(worker);
        let Some(it) = self.workers[worker].as_mut() else {
            return;
        };
        it.doom = Some(PendingKill {
            task,
            kind,
            at,
            done: grace.is_zero(),
        });
        if grace.is_zero() {
            it.kill();
        } else if let Some(requests) = &mut it.requests {
            requests.send(ToWorker::Cancel { task });
            self.effects.push(Effect::Nudge);
        }
    }

    /// Takes back all that stands behind `task` in the worker's line. True if some of it had
    /// started, and so `task` is over.
    fn clear_behind(&mut self, worker: WorkerKey, task: TaskKey) -> bool {
        let Some(line) = self.schedule.line(worker) else {
            return true;
        };
        let behind: Vec<_> = line
            .entries()
            .rev()
            .map(|entry| entry.task)
            .take_while(|&other| other != task)
            .collect();
        let mut moved_on = false;
        for other in behind {
            moved_on |= !self.take_back(worker, other);
        }
        moved_on
    }

    /// Takes back what was not started of `task`. True if that was all of it.
    pub(super) fn take_back(&mut self, worker: WorkerKey, task: TaskKey) -> bool {
        let Some((position, _)) = self.position(task) else {
            return true;
        };
        let Some(requests) = self.requests(worker) else {
            return true;
        };
        if requests.released(position) {
            return false; // it is over, and another request may lie there by now
        }
        let claimed = requests.revoke(position);
        if claimed > 0 {
            self.requeue_tail(worker, task, claimed, ErrorKind::Crashed);
            return false;
        }
        self.schedule.taken_back(worker, task);
        self.requeue(task);
        true
    }

    /// What was not started of a job of many items waits again as a task of its own; if it was
    /// cancelled, it ends.
    fn requeue_tail(&mut self, worker: WorkerKey, task: TaskKey, claimed: usize, kind: ErrorKind) {
        self.schedule.shortened(worker, task);
        let Some(record) = self.records.get_mut(task) else {
            return;
        };
        if claimed >= record.job.items() {
            return;
        }
        let tail = record.job.split(claimed);
        let options = record.options;
        if kind == ErrorKind::Cancelled || record.cancelled {
            self.end_all(&tail, ErrorKind::Cancelled);
            return;
        }
        let key = self.records.insert(tail, options, self.now);
        self.schedule.submit_again(key, options.priority);
    }

    /// When the time of what the worker runs is over, if it has any.
    pub(super) fn deadline(&self, worker: WorkerKey) -> Option<Moment> {
        let it = self.workers.get(worker)?.as_ref()?;
        if let Some(doom) = it.doom {
            return (!doom.done).then_some(doom.at);
        }
        let front = self.schedule.line(worker)?.front()?;
        let record = self.records.get(front.task)?;
        let timeout = record.options.timeout?;
        let Place::Sent { position, .. } = record.place else {
            return None;
        };
        let started = it.requests.as_ref()?.started(position).unwrap_or(self.now);
        Some(started.plus(timeout))
    }

    /// Ends what has had its time.
    pub(super) fn expire(&mut self) {
        for worker in 0..self.workers.len() {
            if self.deadline(worker).is_none_or(|at| at > self.now) {
                continue;
            }
            if let Some(doomed) = self.workers[worker].as_mut().filter(|it| it.doom.is_some()) {
                doomed.kill();
                continue;
            }
            let front = self.schedule.line(worker).and_then(Line::front);
            if let Some(front) = front {
                self.stop_running(worker, front.task, ErrorKind::TimedOut);
            }
        }
    }
}
