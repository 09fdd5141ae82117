//! What a pool knows, and what it does about it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::initializer::Initializer;
use super::metrics::Counts;
use super::records::{Place, Record, Records};
use super::worker_state::Worker;
use crate::call::RequestWriter;
use crate::call::job::Job;
use crate::error::{ErrorKind, JoinError};
use crate::ring::Cursor;
use crate::schedule::{Schedule, StartBreaker, TaskKey, WorkerKey};
use crate::spawn::{ChildSource, ChildSpec};
use crate::sys::clock::Moment;
use crate::transfer::blob::PackedBlob;

/// How a pool was built.
pub(super) struct Settings {
    pub(super) workers: usize,
    pub(super) name: Option<String>,
    pub(super) source: ChildSource,
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
    Unpack(PackedBlob),
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

    /// Something will have to be looked at by `at`, and a sleeping driver does not know that yet.
    pub(super) fn look_by(&mut self, at: Option<Moment>) {
        self.look_by = self.look_by.into_iter().chain(at).min();
    }

    /// Takes the time by which the driver must look at what was given out since the last call.
    pub(super) fn take_look_by(&mut self) -> Option<Moment> {
        self.look_by.take()
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
}
