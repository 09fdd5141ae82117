//! What a pool knows, under one lock, and what it has decided.
//!
//! The topics of the core are in files of their own: `dispatch`, `replies`, `cancel`, `balance`, `workers`,
//! `worker_exit`, `close`, `tick`. Each decides, writes requests into rings, and leaves everything else as an
//! [`Effect`] to be performed after the lock is released.
//!
//! Must stay true: no user code runs here; a record that is removed has had an outcome for every item.

use std::path::PathBuf;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::sync::oneshot;

use super::admission::Admission;
use super::backoff::Delayed;
use super::deadlines::Deadlines;
use super::records::{Order, Records, TaskArguments, TaskRecord};
use super::restart::Restarts;
use super::target::WorkerId;
use super::worker_table::WorkerTable;
use crate::call::RequestWriter;
use crate::call::encoded_items::EncodedItems;
use crate::call::job::Job;
use crate::error::{ErrorKind, JoinError};
use crate::pool::driving::exit_call::{ExitFunction, ExitResults};
use crate::pool::driving::initializer::Initializer;
use crate::pool::monitoring::metrics::Counts;
use crate::pool::monitoring::pool_event::PoolEvent;
use crate::pool::monitoring::recent_time::RecentTime;
use crate::pool::options::call_options::CallOptions;
use crate::pool::options::cgroup::WorkerCgroups;
use crate::pool::options::retry_rule::RetryRule;
use crate::pool::options::shared_options::SharedOptions;
use crate::pool::options::worker_limits::{WorkerBounds, WorkerLimits};
use crate::pool::options::worker_surroundings::EnvPerWorker;
use crate::ring::Cursor;
use crate::schedule::{Schedule, StartBreaker, TaskKey, WorkerKey};
use crate::spawn::{ChildSource, ChildSpec, Output, Surroundings};
use crate::sys::clock::Moment;
use crate::transfer::blob::{BlobStore, PackedBlob};

/// For so many effects memory is kept.
const MOST_KEPT_EFFECTS: usize = 1024;

/// How a pool was built.
pub(in crate::pool) struct Settings {
    /// No other pool of this process has it. Not 0.
    pub(in crate::pool) id: u64,
    pub(in crate::pool) seed: u64,
    pub(in crate::pool) bounds: WorkerBounds,
    pub(in crate::pool) limits: WorkerLimits,
    pub(in crate::pool) name: Option<String>,
    pub(in crate::pool) source: ChildSource,
    /// What each worker runs before its initializer.
    pub(in crate::pool) preload: Option<Initializer>,
    pub(in crate::pool) surroundings: Surroundings,
    pub(in crate::pool) env_per_worker: Option<EnvPerWorker>,
    pub(in crate::pool) output: Output,
    pub(in crate::pool) cgroups: Option<WorkerCgroups>,
    pub(in crate::pool) result_limit: Option<u64>,
    pub(in crate::pool) task_timeout: Option<Duration>,
    pub(in crate::pool) cancel_grace: Duration,
    /// How many lanes each worker has.
    pub(in crate::pool) tasks_per_worker: usize,
    pub(in crate::pool) retries: u32,
    pub(in crate::pool) queue_limit: Option<usize>,
    pub(in crate::pool) queue_bytes: Option<u64>,
    pub(in crate::pool) queue_timeout: Option<Duration>,
    pub(in crate::pool) retry_if: Option<RetryRule>,
    pub(in crate::pool) initializer: Option<Initializer>,
    /// What each worker runs before it leaves, and what it has returned.
    pub(in crate::pool) worker_exit: Option<ExitFunction>,
    pub(in crate::pool) exit_results: Arc<ExitResults>,
    /// What each worker runs last before its first task: it makes the worker's state.
    pub(in crate::pool) state: Option<Initializer>,
    pub(in crate::pool) on_loss: OnLoss,
}

impl Settings {
    /// Whether a call may have to wait before it is submitted.
    #[inline]
    pub(in crate::pool) fn has_queue_limits(&self) -> bool {
        self.queue_limit.is_some() || self.queue_bytes.is_some()
    }

    /// What the builder set for calls that do not choose themselves.
    pub(in crate::pool) fn defaults(&self) -> CallOptions {
        CallOptions {
            timeout: self.task_timeout,
            queue_timeout: self.queue_timeout,
            retries: self.retries,
            ..CallOptions::NONE
        }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("bounds", &self.bounds)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What the core decided, performed after its lock is released.
#[derive(Debug)]
pub(in crate::pool) enum Effect {
    /// Start this worker, unless the sender of the channel is dropped first. The last says whether it must show that it
    /// runs before its first task, because starts have failed.
    Launch(WorkerKey, Box<ChildSpec>, oneshot::Receiver<()>, bool),
    /// Encode this task's items.
    Encode(TaskKey, Arc<dyn Job>),
    /// Encode this task's first item into a blob from the worker's store.
    Pack(TaskKey, WorkerKey, BlobStore, Arc<dyn Job>),
    /// Encode the arguments of the exit function of the worker with this serial number, which has this memory.
    EncodeExit(u64, BlobStore, Arc<dyn Job>),
    /// Drop the job, which may run user code.
    Drop(Arc<dyn Job>),
    /// Drop the job's arguments, which may run user code.
    ForgetArguments(Arc<dyn Job>),
    /// Lend this worker, with the pid of its process, to the request for one.
    Lend(Arc<dyn Job>, WorkerId, u32),
    /// Tell the caller that the job will not run, which is no failure.
    Skip(Arc<dyn Job>),
    /// Remove the directory of a worker that has ended, if it has made one.
    RemoveScratch(PathBuf),
    /// Give the blob of encoded arguments back.
    ReturnBlob(PackedBlob),
    /// Ask the pool's rule whether this task, which has failed so, runs again.
    Decide(TaskKey, JoinError),
    /// Wake a task that waited for a place in the queue.
    WakeTask(Waker),
    /// Tell the readers of the pool's events.
    Tell(Box<PoolEvent>),
    /// Wake the driver: something has changed that it waits for.
    WakeDriver,
}

/// Items of a job that must have an error as their outcome.
#[derive(Debug)]
pub(in crate::pool) struct Failure {
    pub(in crate::pool) job: Arc<dyn Job>,
    pub(in crate::pool) first: usize,
    pub(in crate::pool) count: usize,
    pub(in crate::pool) error: JoinError,
}

/// What the loss of a worker means, and a start that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum OnLoss {
    /// The worker is replaced.
    Replace,
    /// The worker is replaced, but if the first start fails, the pool ends.
    ReplaceStarted,
    /// The pool ends.
    End,
}

/// Whether a pool takes tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum Phase {
    Open,
    /// The pool takes no new tasks and finishes the others.
    Closing,
    /// All tasks are cancelled and all workers killed.
    Over,
}

/// Everything under the pool's one lock.
pub(in crate::pool) struct Core {
    pub(in crate::pool) settings: Arc<Settings>,
    pub(in crate::pool) schedule: Schedule,
    pub(in crate::pool) records: Records,
    pub(in crate::pool) admission: Admission,
    /// Until when waiting tasks must have started.
    pub(in crate::pool) deadlines: Deadlines<TaskKey>,
    pub(in crate::pool) workers: WorkerTable,
    pub(in crate::pool) bounds: WorkerBounds,
    pub(in crate::pool) restarts: Restarts,
    pub(in crate::pool) breaker: StartBreaker,
    pub(in crate::pool) phase: Phase,
    /// The pool's runtime was shut down, and the driver with it.
    pub(in crate::pool) lost_runtime: bool,
    /// Why the pool has ended of itself.
    pub(in crate::pool) ended_because: Option<JoinError>,
    /// How many workers have become ready for tasks.
    pub(in crate::pool) generations: u64,
    pub(in crate::pool) counts: Counts,
    /// The time in which workers ran tasks, and the lives of workers that have exited.
    pub(in crate::pool) busy_time: RecentTime,
    pub(in crate::pool) exited_time: RecentTime,
    /// Whether the events of the pool have had a reader.
    pub(in crate::pool) has_readers: bool,
    /// Tasks that wait for another try.
    pub(in crate::pool) delayed: Delayed,
    /// Tasks that only one worker may run, while they wait for it.
    pub(in crate::pool) pinned: Vec<TaskKey>,
    /// Those whose worker is gone, with its number: its replacement will run them.
    pub(in crate::pool) unplaced: Vec<(usize, TaskKey)>,
    /// How many workers are promised, or were given back and run calls of their lease.
    pub(in crate::pool) unsettled: usize,
    /// Whether pinned tasks or reservations must be looked at again.
    pub(in crate::pool) unserved: bool,
    /// How many workers were started.
    pub(in crate::pool) started: u64,
    pub(in crate::pool) effects: Vec<Effect>,
    /// Apart from the effects: the driver delivers what it has read between the two.
    failures: Vec<Failure>,
    /// Workers for which requests were written since they were last woken.
    pub(in crate::pool) must_wake: Vec<WorkerKey>,
    /// Whether workers may be missing: set by every change that can end in a start.
    pub(in crate::pool) check_missing: bool,
    /// Whether requests were sent, so that tasks may have to be moved, since the last call of [`Core::take_run_by`].
    pub(in crate::pool) check_balance: bool,
    /// Whether workers may have memory for arguments: set when some was made, and by the start of a worker.
    pub(in crate::pool) may_have_blobs: bool,
    /// When the driver must run because of requests that were sent since the last call of [`Core::take_run_by`].
    run_by: Option<Moment>,
    /// The time of the event that is being handled.
    pub(in crate::pool) now: Moment,
}

impl Core {
    pub(in crate::pool) fn new(settings: Arc<Settings>) -> Self {
        Self {
            bounds: settings.bounds,
            restarts: Restarts::default(),
            settings,
            schedule: Schedule::default(),
            records: Records::default(),
            admission: Admission::default(),
            deadlines: Deadlines::default(),
            workers: WorkerTable::default(),
            breaker: StartBreaker::default(),
            phase: Phase::Open,
            lost_runtime: false,
            ended_because: None,
            generations: 0,
            counts: Counts::default(),
            busy_time: RecentTime::default(),
            exited_time: RecentTime::default(),
            has_readers: false,
            delayed: Delayed::new(),
            pinned: Vec::new(),
            unplaced: Vec::new(),
            unsettled: 0,
            unserved: false,
            started: 0,
            effects: Vec::new(),
            failures: Vec::new(),
            must_wake: Vec::new(),
            check_missing: true,
            check_balance: false,
            may_have_blobs: false,
            run_by: None,
            now: Moment::now(),
        }
    }

    /// The driver must run at `at`, if at all, even if nothing else happens.
    pub(in crate::pool) fn run_driver_by(&mut self, at: Option<Moment>) {
        self.run_by = self.run_by.into_iter().chain(at).min();
    }

    /// Takes the time by which the driver must run.
    pub(in crate::pool) fn take_run_by(&mut self) -> Option<Moment> {
        if std::mem::take(&mut self.check_balance) {
            let at = self.next_balance();
            self.run_driver_by(at);
        }
        self.run_by.take()
    }

    /// The driver runs, and checks everything.
    pub(in crate::pool) fn forget_run_by(&mut self) {
        self.check_balance = false;
        self.run_by = None;
    }

    /// Takes what was decided, to be performed after the lock is released: first the effects, then the failures.
    pub(in crate::pool) fn take_decisions(&mut self) -> (Vec<Effect>, Vec<Failure>) {
        // Most calls decide nothing. Then the memory for effects stays for the driver, whose turns decide something.
        let effects = match self.effects.is_empty() {
            true => Vec::new(),
            false => std::mem::take(&mut self.effects),
        };
        (effects, std::mem::take(&mut self.failures))
    }

    /// Takes back the memory of effects that were performed.
    pub(in crate::pool) fn reuse(&mut self, performed: Vec<Effect>) {
        if self.effects.is_empty() && performed.capacity() <= MOST_KEPT_EFFECTS {
            self.effects = performed;
        }
    }

    /// The position of the task's request, if that is in a ring.
    pub(in crate::pool) fn position(&self, key: TaskKey) -> Option<Cursor> {
        self.records.get(key)?.position()
    }

    /// Where requests for the worker are written, if it has a process.
    pub(in crate::pool) fn requests(&mut self, worker: WorkerKey) -> Option<&mut RequestWriter> {
        Some(&mut self.workers.io_mut(worker)?.requests)
    }

    /// Adds a task that waits before all others of its priority, once it is encoded.
    pub(in crate::pool) fn enqueue_front(
        &mut self,
        job: Arc<dyn Job>,
        encoded: Option<EncodedItems>,
        options: SharedOptions,
    ) {
        let arguments = encoded.map_or(TaskArguments::Unencoded, TaskArguments::Encoded);
        let priority = options.priority;
        let key = self.insert(job, arguments, options);
        self.enqueue(key, priority, Order::First);
    }

    /// Adds a task.
    pub(in crate::pool) fn insert(
        &mut self,
        job: Arc<dyn Job>,
        arguments: TaskArguments,
        options: SharedOptions,
    ) -> TaskKey {
        let start_by = options.start_by;
        let key = self.records.insert(job, arguments, options, self.now);
        if let Some(at) = start_by {
            self.add_deadline(at, key);
        }
        key
    }

    /// Ends a task that was never started.
    pub(in crate::pool) fn fail_unstarted(&mut self, key: TaskKey, kind: ErrorKind) {
        if let Some(record) = self.records.remove(key) {
            let error = JoinError::new(kind, record.job.name()).after_start(record.options.tried);
            self.fail_all(&record.job, error);
            self.discard(record);
        }
    }

    /// Gives all items of a job an error.
    pub(in crate::pool) fn fail_all(&mut self, job: &Arc<dyn Job>, error: JoinError) {
        self.fail(job, 0, job.items(), error);
    }

    /// Gives `count` items of a job, from `first` on, an error, and counts them.
    pub(in crate::pool) fn fail(
        &mut self,
        job: &Arc<dyn Job>,
        first: usize,
        count: usize,
        error: JoinError,
    ) {
        // A request for a worker is no task of the user.
        if !job.wants_worker() {
            self.count_failed(error.kind(), count);
        }
        self.fail_uncounted(Failure {
            job: Arc::clone(job),
            first,
            count,
            error,
        });
    }

    /// Counts calls that have ended with an error of this kind.
    pub(in crate::pool) fn count_failed(&mut self, kind: ErrorKind, calls: usize) {
        self.counts.add_failed(kind, calls as u64);
        if kind == ErrorKind::TimedOut {
            (0..calls).for_each(|_| self.tell(|| PoolEvent::TaskTimedOut));
        }
    }

    /// Gives items of a job that is no task an error.
    pub(in crate::pool) fn fail_uncounted(&mut self, failure: Failure) {
        self.failures.push(failure);
    }

    /// Drops a record after the lock is released, because the job is user code's.
    pub(in crate::pool) fn discard(&mut self, record: TaskRecord) {
        let job = self.release(record);
        self.effects.push(Effect::Drop(job));
    }

    /// Drops a record but for its job, which must be dropped after the lock is released.
    pub(in crate::pool) fn release(&mut self, record: TaskRecord) -> Arc<dyn Job> {
        if let TaskArguments::Packed(packed) = record.arguments {
            self.effects.push(Effect::ReturnBlob(*packed));
        }
        record.job
    }
}
