//! The core's topic: what a reply changes about its task and worker.

use std::sync::Arc;
use std::time::Duration;

use super::close::LONGEST_LEAVING;
use super::core::{Core, Effect};
use super::exit_stage::ExitStage;
use super::records::{Place, TaskRecord};
use crate::call::envelope::Reply;
use crate::call::job::Job;
use crate::error::JoinError;
use crate::pool::driving::exit_call::EXIT_TASK;
use crate::pool::driving::findings::JobOutcomes;
use crate::pool::monitoring::pool_event::PoolEvent;
use crate::pool::monitoring::recycle_reason::RecycleReason;
use crate::schedule::{TaskKey, WorkerKey};
use crate::transfer::messages::ToWorker;
use crate::transfer::nonsense::Nonsense;

impl Core {
    /// Accounts for a reply of a task. Returns the job, and how many of the outcomes in the reply count. `None` if the
    /// task has an outcome, or was moved to another worker.
    ///
    /// # Errors
    ///
    /// The reply is not about what the worker was sent.
    pub(in crate::pool) fn on_reply(
        &mut self,
        worker: WorkerKey,
        head: &Reply,
    ) -> Result<Option<JobOutcomes>, Nonsense> {
        let now = self.now;
        let Some(it) = self
            .workers
            .get_mut(worker)
            .filter(|it| it.nonsense.is_none())
        else {
            return Ok(None);
        };
        let ran_until_now = it.ledger.replied(head, now)?;
        if head.task == EXIT_TASK {
            return Ok(self.on_exit_reply(worker, head));
        }
        let Some(record) = self.records.get_mut(head.task) else {
            return Ok(None);
        };
        let Some((items, end)) = received(record, worker, head) else {
            return Ok(None);
        };
        // No worker can have run it longer than there was a task.
        let age = now.since(record.submitted);
        self.busy_time
            .add(Duration::from_nanos(head.run_nanos).min(age), now);
        let asks_rule = head.last && head.count == 1 && items == 1 && self.asks_rule(head.task);
        let job = if head.last && end < items {
            return Err(Nonsense("its last reply leaves items out"));
        } else if head.last {
            self.finish(worker, head.task, ran_until_now.min(age), asks_rule)
        } else {
            self.schedule
                .progress(worker, head.task, items - end, self.now);
            self.records.get(head.task).map(|it| Arc::clone(&it.job))
        };
        let Some(job) = job else {
            return Ok(None);
        };
        let ended = head.count > 0 && end == items;
        let replaced = match ended {
            true => self.end_as_killed(worker, head.task, &job),
            false => None,
        };
        let is_replaced = replaced.is_some();
        match replaced {
            Some(error) if asks_rule => self.effects.push(Effect::Decide(head.task, error)),
            Some(error) => self.fail(&job, job.items() - 1, 1, error),
            None => {}
        }
        Ok(Some(JobOutcomes {
            job,
            count: head.count - u32::from(is_replaced),
            asks_rule: asks_rule && !is_replaced,
        }))
    }

    /// The worker begins nothing more: a call has panicked while it had the state. What it was sent runs elsewhere, and
    /// another worker takes its place. It still runs the exit function, when it has released what was revoked.
    pub(in crate::pool) fn on_leaving(&mut self, worker: WorkerKey) {
        if self.settings.state.is_none() {
            let nonsense = Nonsense("it leaves and has no reason to");
            return self.distrust(worker, nonsense);
        }
        let it = self.workers.get_mut(worker).filter(|it| it.is_alive());
        let Some(it) = it else {
            return; // it was killed meanwhile, or says so again
        };
        let follows = it.exit_job.is_some() && it.life.takes_requests();
        if follows {
            it.exit_stage = ExitStage::Draining;
        }
        if !it.departure.is_final() {
            let why = RecycleReason::StateLost;
            self.counts.recycled += 1;
            self.tell(|| PoolEvent::WorkerRecycled { why });
        }
        let kill_at = self.now.plus(LONGEST_LEAVING);
        self.transition(worker, |life| life.leave(kill_at));
        let queue = self.schedule.run_queue(worker);
        let tasks = queue.map(|queue| queue.tasks().rev().map(|queued| queued.task));
        // From the last to the first, so that they wait in their old order.
        for task in tasks.map(Vec::from_iter).unwrap_or_default() {
            self.revoke(worker, task);
        }
        if let Some(io) = self.workers.io_mut(worker) {
            io.requests.send(ToWorker::Leave { follows });
        }
    }

    /// The last reply of a task has arrived: all its items have outcomes, and `ran` so long together. If the pool's rule is
    /// asked about it, the task keeps its record until that has decided. Returns the job.
    fn finish(
        &mut self,
        worker: WorkerKey,
        key: TaskKey,
        ran: Duration,
        asks_rule: bool,
    ) -> Option<Arc<dyn Job>> {
        let record = self.records.get(key)?;
        let waited = self.now.since(record.submitted).saturating_sub(ran);
        self.schedule.finished(worker, key, ran, self.now);
        self.counts.run_time.add(ran);
        self.counts.wait_time.add(waited);
        if let Some(it) = self.workers.get_mut(worker) {
            it.done += 1;
            self.on_proven(worker);
        }
        if asks_rule {
            self.await_decision(key);
            return self.records.get(key).map(|it| Arc::clone(&it.job));
        }
        let record = self.records.remove(key)?;
        // Not dropped by an effect of its own: it is given its outcomes after the lock is released.
        Some(self.release(record))
    }

    /// A task for which its worker was to be killed, or was killed a moment ago, has ended by itself. Returns the error of
    /// the kill, which the item that ran has all the same: the job's last, because the others were revoked.
    fn end_as_killed(
        &mut self,
        worker: WorkerKey,
        key: TaskKey,
        job: &Arc<dyn Job>,
    ) -> Option<JoinError> {
        let it = self.workers.get_mut(worker)?;
        let kill = it.life.on_ended(key)?;
        let mut error = JoinError::new(kill.kind, job.name()).after_start(true);
        if let Some(pid) = it.pid() {
            error = error.in_process(pid);
        }
        // A task that may run again keeps its limits. Options that are changed are not shared with other tasks any more.
        let record = self.records.get_mut(key);
        let record = record.filter(|it| it.place != Place::Deciding);
        if let Some(record) = record.filter(|it| it.options.first_limit().is_some()) {
            record.options.timeout = None;
            record.options.progress_timeout = None;
        }
        self.schedule.workers_changed();
        Some(error)
    }
}

/// Adds the outcomes of a reply to the task's record. Returns how many items the task has, and how many of them have
/// outcomes. `None` if `worker` does not have the task, or the reply is not the next.
fn received(record: &mut TaskRecord, worker: WorkerKey, head: &Reply) -> Option<(usize, usize)> {
    let items = record.job.items();
    let end = (head.first as usize).saturating_add(head.count as usize);
    match &mut record.place {
        Place::Sent {
            worker: sent_to,
            received,
            ..
        } if *sent_to == worker && head.first == *received && end <= items => {
            *received = u32::try_from(end).unwrap_or(u32::MAX);
        }
        _ => return None,
    }
    Some((items, end))
}
