//! The core's topic: ending a task by cancellation or timeout, and no other task with it.
//!
//! A worker may finish the task and start the next at any moment. So the tasks behind it are revoked first. A task
//! that was revoked will not start in this worker. A task that was not revoked has started, which proves that the
//! task before it is over, and the worker need not be killed.

use std::sync::Arc;

use super::core::Core;
use super::records::Place;
use super::worker_state::{PendingKill, WorkerLife};
use crate::call::encoded_items::EncodedItems;
use crate::call::job::{GroupId, Job};
use crate::error::{ErrorKind, JoinError};
use crate::pool::driving::ledger::{Ledger, SentRequest};
use crate::pool::driving::time_limit::FrontTask;
use crate::pool::options::shared_options::SharedOptions;
use crate::schedule::{RunQueue, TaskKey, WorkerKey};
use crate::sys::clock::Moment;
use crate::transfer::nonsense::Nonsense;

impl Core {
    /// The caller does not want a task any more, wherever it is.
    pub(in crate::pool) fn cancel(&mut self, key: TaskKey) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        record.cancelled = true;
        match record.place {
            Place::Waiting => {
                self.schedule.cancel_waiting(key);
                self.fail_unstarted(key, ErrorKind::Cancelled);
            }
            Place::Pinned => {
                self.forget_pinned(key);
                self.fail_unstarted(key, ErrorKind::Cancelled);
            }
            Place::Encoding | Place::Delayed | Place::Deciding => {
                self.fail_unstarted(key, ErrorKind::Cancelled);
            }
            // Its worker may still drop the result.
            Place::Sent { .. } if record.has_all_outcomes() => {}
            Place::Sent { worker, .. } => self.stop_running(worker, key, ErrorKind::Cancelled),
        }
    }

    /// The caller does not want a task any more, but it must not cost its worker: ends it if it has not started.
    pub(in crate::pool) fn withdraw(&mut self, key: TaskKey) {
        let Some(record) = self.records.get(key) else {
            return;
        };
        let Place::Sent { worker, .. } = record.place else {
            return self.cancel(key);
        };
        let Some((position, requests)) = self.position(key).zip(self.requests(worker)) else {
            return;
        };
        if !requests.released(position) && requests.revoke(position) == 0 {
            self.on_revoked(worker, key);
            self.fail_unstarted(key, ErrorKind::Cancelled);
        }
    }

    /// The caller does not want any task of this group any more.
    pub(in crate::pool) fn cancel_group(&mut self, group: GroupId) {
        let members = self.records.members(group);
        // All are marked before the first is cancelled, so that a task which is revoked on the way ends as well.
        for &key in &members {
            if let Some(record) = self.records.get_mut(key) {
                record.cancelled = true;
            }
        }
        for key in members {
            self.cancel(key);
        }
    }

    /// Ends tasks whose time is over, and kills workers whose grace is over.
    pub(in crate::pool) fn expire(&mut self) {
        self.for_each_due(Self::expire_at);
    }

    fn expire_at(&mut self, worker: WorkerKey) {
        self.note_start(worker);
        if self.is_erased(worker) {
            let what = "it has erased a request that it was to run";
            return self.distrust(worker, Nonsense(what));
        }
        if self.deadline(worker).is_none_or(|at| at > self.now) {
            return;
        }
        let life = self.workers.get(worker).map(|it| &it.life);
        if life.is_some_and(|life| life.kill_at().is_some()) {
            return self.transition(worker, WorkerLife::kill);
        }
        let front = self.schedule.run_queue(worker).and_then(RunQueue::front);
        match front {
            Some(front) if self.is_ignored(worker, front.task) => {
                // It is stopped, or says that it has not started what it runs. The task runs elsewhere.
                if let Some(it) = self.workers.get_mut(worker) {
                    it.unresponsive = true;
                }
                self.transition(worker, WorkerLife::kill);
            }
            Some(front) => self.stop_running(worker, front.task, ErrorKind::TimedOut),
            None => {}
        }
    }

    /// When the time of the worker's task or grace is over, if it is limited.
    pub(in crate::pool) fn deadline(&self, worker: WorkerKey) -> Option<Moment> {
        let life = &self.workers.get(worker)?.life;
        match (life.kill_at(), life.kill_reason()) {
            (None, None) => Some(self.front_task(worker)?.ends(self.now)),
            (kill_at, _) => kill_at,
        }
    }

    /// What is known of the worker's task, if its time is limited.
    fn front_task(&self, worker: WorkerKey) -> Option<FrontTask> {
        let it = self.workers.get(worker)?;
        let front = self.schedule.run_queue(worker)?.front()?;
        let record = self.records.get(front.task)?;
        record.options.first_limit()?;
        let requests = &it.life.io()?.requests;
        let stamp = requests.started(record.position()?);
        // What the worker was sent before and was revoked may still be in its ring.
        let sent = it.ledger.front().filter(|sent| sent.task() == front.task);
        Some(FrontTask {
            timeout: record.options.timeout,
            progress_timeout: record.options.progress_timeout,
            sign: requests.progress(),
            started: sent.map_or(stamp, |sent| sent.started(stamp)),
            due: sent.map(SentRequest::due),
        })
    }

    /// Takes note of when the worker's call was seen to have started.
    fn note_start(&mut self, worker: WorkerKey) {
        let now = self.now;
        let Some(it) = self.workers.get_mut(worker) else {
            return;
        };
        let (Some(sent), Some(io)) = (it.ledger.front_mut(), it.life.io()) else {
            return;
        };
        let position = self
            .records
            .get(sent.task())
            .map(|it| it.position_at(worker));
        if let Some(position) = position.flatten() {
            sent.note_start(io.requests.started(position), now);
        }
    }

    /// Whether the worker's task is late because the worker has erased the request, and so the word that says whether
    /// the task has started.
    fn is_erased(&self, worker: WorkerKey) -> bool {
        let task = self.schedule.run_queue(worker).and_then(RunQueue::front);
        let is_late = self
            .front_task(worker)
            .is_some_and(|it| it.is_late(self.now));
        let io = self.workers.get(worker).and_then(|it| it.life.io());
        let known = io.zip(task.and_then(|front| self.position(front.task)));
        is_late && known.is_some_and(|(io, position)| io.requests.is_erased(position))
    }

    /// Whether the worker says, or has said, that it has started the task.
    fn was_seen_to_start(&self, worker: WorkerKey, task: TaskKey, stamp: Option<Moment>) -> bool {
        let ledger = self.workers.get(worker).map(|it| &it.ledger);
        let sent = ledger.and_then(Ledger::front);
        let sent = sent.filter(|sent| sent.task() == task);
        sent.map_or(stamp, |sent| sent.started(stamp)).is_some()
    }

    /// Whether the worker says that it has not started the task, when it should have ended.
    fn is_ignored(&self, worker: WorkerKey, task: TaskKey) -> bool {
        let limit = self.front_task(worker);
        let requests = self.workers.get(worker).and_then(|it| it.life.io());
        let known = requests.map(|io| &io.requests).zip(self.position(task));
        limit.is_some_and(|limit| limit.is_ignored(self.now))
            && known.is_some_and(|(requests, position)| {
                !requests.released(position) && requests.claimed(position) == 0
            })
    }

    /// Revokes the unstarted items of `task`. True if those were all items.
    pub(in crate::pool) fn revoke(&mut self, worker: WorkerKey, task: TaskKey) -> bool {
        let Some(position) = self.position(task) else {
            return true;
        };
        let Some(requests) = self.requests(worker) else {
            return true;
        };
        if requests.released(position) {
            return false; // the task is over, and another request may be at its position
        }
        let claimed = requests.revoke(position);
        if claimed > 0 {
            self.requeue_rest(worker, task, claimed, ErrorKind::Crashed);
            return false;
        }
        self.on_revoked(worker, task);
        self.requeue(task);
        true
    }

    /// The worker will not start a request of `task`, nor reply to it.
    pub(in crate::pool) fn on_revoked(&mut self, worker: WorkerKey, task: TaskKey) {
        self.schedule.revoked(worker, task);
        if let Some(it) = self.workers.get_mut(worker) {
            it.ledger.revoked(task, self.now);
        }
        self.may_have_finished(worker);
    }

    /// Ends `task`, which is in the worker's run queue, with an error of `kind`.
    fn stop_running(&mut self, worker: WorkerKey, task: TaskKey, kind: ErrorKind) {
        let life = self.workers.get(worker).map(|it| &it.life);
        if life.is_none_or(|life| life.kill_reason().is_some()) {
            return;
        }
        if self.revoke_behind(worker, task) {
            return; // the task is over: its reply is on the way
        }
        let Some(position) = self.position(task) else {
            return;
        };
        let Some(requests) = self.requests(worker) else {
            return;
        };
        if requests.released(position) {
            return; // likewise
        }
        let stamp = requests.started(position);
        let claimed = requests.revoke(position);
        if claimed == 0 {
            let has_started = self.was_seen_to_start(worker, task, stamp);
            self.on_revoked(worker, task);
            self.fail_unstarted(task, kind);
            if has_started {
                self.distrust(
                    worker,
                    Nonsense("it stamped a task that it had not claimed"),
                );
            }
            return;
        }
        self.requeue_rest(worker, task, claimed, kind);
        if kind == ErrorKind::TimedOut && self.deadline(worker).is_none_or(|at| at > self.now) {
            return; // a batch, whose next item has started meanwhile
        }
        self.schedule_kill(worker, task, kind);
    }

    /// Gives the task the grace of the pool's settings, and kills the worker afterwards.
    fn schedule_kill(&mut self, worker: WorkerKey, task: TaskKey, kind: ErrorKind) {
        let at = self.now.plus(self.settings.cancel_grace);
        let kill = PendingKill { task, kind, at };
        let now = self.now;
        self.transition(worker, |life| life.schedule_kill(kill, now));
    }

    /// Revokes all tasks behind `task` in the worker's run queue. True if one of them had started, and so `task` is
    /// over.
    fn revoke_behind(&mut self, worker: WorkerKey, task: TaskKey) -> bool {
        let Some(queue) = self.schedule.run_queue(worker) else {
            return true;
        };
        let behind: Vec<_> = queue
            .tasks()
            .rev()
            .map(|queued| queued.task)
            .take_while(|&other| other != task)
            .collect();
        let mut started = false;
        for other in behind {
            started |= !self.revoke(worker, other);
        }
        started
    }

    /// The revoked items of a job wait again as a task of their own. If they were cancelled, they end.
    fn requeue_rest(&mut self, worker: WorkerKey, task: TaskKey, claimed: usize, kind: ErrorKind) {
        let Some((rest, encoded, options)) = self.take_rest(worker, task, claimed) else {
            return;
        };
        let cancelled = self.records.get(task).is_some_and(|it| it.cancelled);
        if kind == ErrorKind::Cancelled || cancelled {
            self.fail_all(&rest, JoinError::new(ErrorKind::Cancelled, rest.name()));
        } else {
            self.enqueue_front(rest, encoded, options);
        }
    }

    /// Takes the items of a job that were revoked, if there are any, out of the task.
    pub(in crate::pool) fn take_rest(
        &mut self,
        worker: WorkerKey,
        task: TaskKey,
        claimed: usize,
    ) -> Option<(Arc<dyn Job>, Option<EncodedItems>, SharedOptions)> {
        self.schedule.revoked_rest(worker, task);
        let record = self.records.get_mut(task)?;
        if claimed >= record.job.items() {
            return None;
        }
        let encoded = record.split_encoded(claimed);
        let (rest, options) = (record.job.split(claimed), record.call_options());
        self.records.recount(task);
        Some((rest, encoded, options))
    }
}
