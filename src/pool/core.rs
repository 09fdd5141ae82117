//! What a pool knows, and what it does about it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::call_options::CallOptions;
use super::initializer::{Initializer, PREPARATION};
use super::metrics::Counts;
use super::records::{Place, Record, Records};
use super::workers::Worker;
use crate::call::envelope::Reply;
use crate::call::job::{GroupId, Job};
use crate::call::{Post, RequestWriter};
use crate::error::{ErrorKind, JoinError};
use crate::ring::Cursor;
use crate::schedule::{Schedule, StartBreaker, TaskKey, WorkerKey};
use crate::spawn::{ChildSpec, Source};
use crate::sys::clock::Moment;
use crate::transfer::blob::Packed;

/// How a pool was built.
pub(super) struct Settings {
    pub(super) workers: usize,
    pub(super) name: Option<String>,
    pub(super) source: Source,
    /// What each worker runs before its initializer.
    pub(super) preload: Option<Initializer>,
    pub(super) nice: i32,
    pub(super) memory_limit: Option<u64>,
    pub(super) task_timeout: Option<Duration>,
    pub(super) cancel_grace: Duration,
    pub(super) retries: u32,
    pub(super) initializer: Option<Initializer>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("workers", &self.workers)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Something to be done after the core's lock was let go.
#[derive(Debug)]
pub(super) enum Effect {
    /// Start this worker.
    Launch(WorkerKey, Box<ChildSpec>, oneshot::Receiver<()>),
    /// Encode this task's first item.
    Pack(TaskKey, Arc<dyn Job>),
    /// Give these items their outcome.
    End {
        job: Arc<dyn Job>,
        first: usize,
        count: usize,
        error: JoinError,
    },
    /// Drop this, which may run user code.
    Drop(Arc<dyn Job>),
    /// Drop its arguments.
    LetGo(Arc<dyn Job>),
    /// The encoded arguments are not needed any more.
    Unpack(Packed),
    /// The driver must look: there is something to wait for.
    Nudge,
}

/// Whether a pool takes tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// No new tasks; those there are are finished.
    Closing,
    /// No tasks at all.
    Over,
}

/// Everything under the pool's one lock.
pub(super) struct Core {
    pub(super) settings: Arc<Settings>,
    pub(super) schedule: Schedule,
    pub(super) records: Records,
    pub(super) workers: Vec<Option<Worker>>,
    pub(super) breaker: StartBreaker,
    pub(super) target: usize,
    pub(super) phase: Phase,
    pub(super) counts: Counts,
    pub(super) effects: Vec<Effect>,
    /// When the driver must look at what was just given out, if at all.
    look_by: Option<Moment>,
    /// The time of the event that is being handled.
    pub(super) now: Moment,
}

impl Core {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self {
            target: settings.workers,
            settings,
            schedule: Schedule::default(),
            records: Records::default(),
            workers: Vec::new(),
            breaker: StartBreaker::default(),
            phase: Phase::Open,
            counts: Counts::default(),
            effects: Vec::new(),
            look_by: None,
            now: Moment::now(),
        }
    }

    /// Takes a task. `None` if the pool takes none any more.
    pub(super) fn submit(&mut self, job: Arc<dyn Job>, options: CallOptions) -> Option<TaskKey> {
        if self.phase != Phase::Open {
            return None;
        }
        let key = self.records.insert(job, options, self.now);
        self.schedule.submit(key, options.priority);
        self.breaker.try_again();
        Some(key)
    }

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

    /// Gives waiting tasks to workers and starts the workers that are wanted.
    pub(super) fn pump(&mut self) {
        while let Some((worker, task)) = self.schedule.next() {
            self.dispatch(worker, task);
        }
        for worker in self.workers.iter_mut().flatten() {
            if !std::mem::take(&mut worker.touched) {
                continue;
            }
            if let Some(requests) = &worker.requests {
                requests.wake();
            }
        }
        self.hire();
    }

    /// Takes many tasks at once. False, and takes none, if the pool is closed.
    pub(super) fn submit_all(
        &mut self,
        jobs: &mut Vec<Arc<dyn Job>>,
        options: CallOptions,
    ) -> bool {
        if self.phase != Phase::Open {
            return false;
        }
        for job in jobs.drain(..) {
            self.submit(job, options);
        }
        true
    }

    /// Cancels every task of this group.
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
    fn balance(&self) -> Option<Moment> {
        let wait = self.schedule.look_again(self.now)?;
        Some(self.now.plus(wait))
    }

    /// Something will have to be looked at by `at`, and a sleeping driver does not know that yet.
    fn look_by(&mut self, at: Option<Moment>) {
        self.look_by = self.look_by.into_iter().chain(at).min();
    }

    /// Takes the time by which the driver must look at what was given out since the last call.
    pub(super) fn take_look_by(&mut self) -> Option<Moment> {
        self.look_by.take()
    }

    /// No new tasks. With `Over`, no old ones either, and every worker is killed.
    pub(super) fn close(&mut self, phase: Phase) {
        if self.phase != Phase::Over {
            self.phase = phase;
        }
        self.effects.push(Effect::Nudge);
        if self.phase != Phase::Over {
            return;
        }
        for key in self.records.keys() {
            // What was sent ends with its worker.
            if !matches!(
                self.records.get(key).map(|it| it.place),
                Some(Place::Sent { .. })
            ) {
                self.cancel(key);
            }
        }
        for worker in 0..self.workers.len() {
            self.schedule.close(worker);
            if let Some(it) = &mut self.workers[worker] {
                it.kill();
            }
        }
    }

    fn dispatch(&mut self, worker: WorkerKey, key: TaskKey) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        let Some(it) = self.workers.get_mut(worker).and_then(Option::as_mut) else {
            return self.requeue(key);
        };
        let Some(requests) = &mut it.requests else {
            return self.requeue(key);
        };
        let post = match &record.packed {
            Some(packed) => requests.write_blob(key, &*record.job, packed),
            None => requests.post(key, &*record.job, record.options.timeout.is_some()),
        };
        match post {
            Post::Sent {
                position,
                items,
                has_fds,
            } => {
                it.touched = true;
                // Those of several items may belong to any; those of a task that can be retried are needed again.
                if has_fds && record.job.items() == 1 && record.options.retries == 0 {
                    it.has_fds.push(key);
                }
                record.place = Place::Sent {
                    worker,
                    position,
                    received: 0,
                };
                let expires = record.options.timeout.map(|limit| self.now.plus(limit));
                self.schedule.sent(worker, key, items, self.now);
                self.look_by(expires);
                self.look_by(self.balance());
                self.queue_rest(key, items);
            }
            Post::NoSpace => {
                self.requeue(key);
                self.schedule.no_space(worker);
            }
            Post::TooLarge => {
                record.place = Place::Packing;
                let job = Arc::clone(&record.job);
                self.queue_rest(key, 1);
                self.effects.push(Effect::Pack(key, job));
            }
            Post::Refused(why) => {
                self.queue_rest(key, 1);
                self.refuse(key, &why);
            }
        }
    }

    /// The items of a task behind the first `kept` wait as a task of their own.
    fn queue_rest(&mut self, key: TaskKey, kept: usize) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        if record.job.items() > kept {
            let rest = record.job.split(kept);
            let options = record.options;
            let key = self.records.insert(rest, options, self.now);
            self.schedule.submit_again(key, options.priority);
        }
    }

    /// A task whose arguments cannot be encoded ends here.
    fn refuse(&mut self, key: TaskKey, why: &str) {
        if let Some(record) = self.records.remove(key) {
            let error = JoinError::new(ErrorKind::Encode, record.job.name())
                .because(format!("the arguments: {why}"));
            self.end(&record.job, 0, record.job.items(), error);
            self.discard(record);
        }
    }

    /// The arguments of a large task were encoded, or could not be.
    pub(super) fn packed(&mut self, key: TaskKey, packed: Result<Packed, String>) {
        let known = self.records.get_mut(key);
        match (packed, known) {
            (Ok(packed), Some(record)) => {
                record.packed = Some(packed);
                self.requeue(key);
            }
            (Ok(packed), None) => self.effects.push(Effect::Unpack(packed)),
            (Err(why), Some(_)) => self.refuse(key, &why),
            (Err(_), None) => {}
        }
    }

    /// The job a reply is for, unless nobody waits for it, and how many of the outcomes in it count.
    pub(super) fn reply(&mut self, worker: WorkerKey, head: &Reply) -> Option<(Arc<dyn Job>, u32)> {
        if head.task == PREPARATION {
            let it = self.workers.get(worker)?.as_ref()?;
            let preparation = Arc::clone(it.preparation.as_ref()?);
            return Some((preparation.into_job(), head.count));
        }
        let now = self.now;
        let record = self.records.get_mut(head.task)?;
        let items = record.job.items();
        let end = (head.first as usize).saturating_add(head.count as usize);
        let Place::Sent {
            worker: sent_to,
            received,
            ..
        } = &mut record.place
        else {
            return None;
        };
        if *sent_to != worker || head.first as usize != *received || end > items {
            return None;
        }
        *received = end;
        record.ran += Duration::from_nanos(head.run_nanos);
        let job = Arc::clone(&record.job);
        if head.last {
            self.finish(worker, head.task, end);
        } else {
            self.schedule.progress(worker, head.task, items - end, now);
        }
        let doomed = head.count > 0 && end == items && self.reprieve(worker, head.task, &job);
        Some((job, head.count - u32::from(doomed)))
    }

    fn finish(&mut self, worker: WorkerKey, key: TaskKey, received: usize) {
        let Some(record) = self.records.remove(key) else {
            return;
        };
        self.schedule.finished(worker, key, record.ran, self.now);
        let waited = self.now.since(record.submitted).saturating_sub(record.ran);
        self.counts.run_time.add(record.ran);
        self.counts.wait_time.add(waited);
        let missing = record.job.items().saturating_sub(received);
        if missing > 0 {
            let error = JoinError::new(ErrorKind::Decode, record.job.name())
                .because("its worker left it out")
                .after_start(true);
            self.end(&record.job, received, missing, error);
        }
        if let Some(it) = self.workers[worker].as_mut() {
            it.done += 1;
            if !std::mem::replace(&mut it.proven, true) {
                self.breaker.succeeded();
            }
        }
        self.discard(record);
    }

    /// A doomed task that ends by itself, within its grace, saves its worker. The item that was
    /// running, which is the job's last since the others were taken back, has its error all the same.
    fn reprieve(&mut self, worker: WorkerKey, key: TaskKey, job: &Arc<dyn Job>) -> bool {
        let Some(it) = self.workers[worker].as_mut() else {
            return false;
        };
        let Some(doom) = it.doom.take_if(|doom| doom.task == key && !doom.done) else {
            return false;
        };
        let mut error = JoinError::new(doom.kind, job.name()).after_start(true);
        if let Some(pid) = it.pid() {
            error = error.in_process(pid);
        }
        if let Some(record) = self.records.get_mut(key) {
            record.options.timeout = None;
        }
        self.schedule.ready(worker, self.now);
        self.end(job, job.items() - 1, 1, error);
        true
    }

    /// The task waits again, before all others.
    pub(super) fn requeue(&mut self, key: TaskKey) {
        if let Some(record) = self.records.get_mut(key) {
            record.place = Place::Waiting;
            let priority = record.options.priority;
            if record.cancelled || self.phase == Phase::Over {
                self.end_unstarted(key, ErrorKind::Cancelled);
            } else {
                self.schedule.submit_again(key, priority);
            }
        }
    }

    /// Ends a task that was never started.
    pub(super) fn end_unstarted(&mut self, key: TaskKey, kind: ErrorKind) {
        if let Some(record) = self.records.remove(key) {
            self.end_all(&record.job, kind);
            self.discard(record);
        }
    }

    pub(super) fn end_all(&mut self, job: &Arc<dyn Job>, kind: ErrorKind) {
        let error = JoinError::new(kind, job.name());
        self.end(job, 0, job.items(), error);
    }

    pub(super) fn end(&mut self, job: &Arc<dyn Job>, first: usize, count: usize, error: JoinError) {
        let counted = match error.kind() {
            ErrorKind::Crashed | ErrorKind::Exited => &mut self.counts.crashed,
            ErrorKind::TimedOut => &mut self.counts.timed_out,
            ErrorKind::Cancelled => &mut self.counts.cancelled,
            _ => &mut self.counts.failed,
        };
        *counted += count as u64;
        self.effects.push(Effect::End {
            job: Arc::clone(job),
            first,
            count,
            error,
        });
    }

    /// Lets go of a record, outside the lock as far as user code is concerned.
    pub(super) fn discard(&mut self, record: Record) {
        if let Some(packed) = record.packed {
            self.effects.push(Effect::Unpack(packed));
        }
        self.effects.push(Effect::Drop(record.job));
    }

    pub(super) fn position(&self, key: TaskKey) -> Option<(Cursor, usize)> {
        match self.records.get(key)?.place {
            Place::Sent {
                position, received, ..
            } => Some((position, received)),
            _ => None,
        }
    }

    pub(super) fn requests(&mut self, worker: WorkerKey) -> Option<&mut RequestWriter> {
        self.workers.get_mut(worker)?.as_mut()?.requests.as_mut()
    }

    /// Gives every task that has no outcome one.
    pub(super) fn fail_everything(&mut self) {
        let kind = match self.phase {
            Phase::Over => ErrorKind::Cancelled,
            _ => ErrorKind::Closed,
        };
        self.schedule.take_waiting();
        for key in self.records.keys() {
            if let Some(record) = self.records.remove(key) {
                let why = "the runtime in which the pool lived was shut down";
                let error = JoinError::new(kind, record.job.name()).because(why);
                self.end(&record.job, 0, record.job.items(), error);
                self.discard(record);
            }
        }
    }
}
