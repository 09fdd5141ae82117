//! What the driver has found since the core's last tick.

use std::ops::Range;
use std::sync::Arc;

use crate::call::envelope::Reply;
use crate::call::job::Job;
use crate::error::JoinError;
use crate::pool::decisions::worker_state::WorkerIo;
use crate::schedule::WorkerKey;
use crate::spawn::ChildEnd;
use crate::transfer::blob::PackedBlob;
use crate::transfer::nonsense::Nonsense;

/// Everything that the driver reports to one tick.
#[derive(Debug, Default)]
pub(in crate::pool) struct Findings {
    pub(in crate::pool) changes: Vec<WorkerChange>,
    pub(in crate::pool) replies: Vec<FoundReply>,
    /// Workers that have more memory than they may have.
    pub(in crate::pool) overgrown: Vec<WorkerKey>,
    pub(in crate::pool) exits: Vec<FoundExit>,
    /// Cached values without a handle.
    pub(in crate::pool) uncached: Vec<u64>,
}

/// A worker that was started, is ready, or must not continue.
#[derive(Debug)]
pub(in crate::pool) enum WorkerChange {
    /// The process was started. `has_init` says whether it runs initializers before its first task.
    Started {
        worker: WorkerKey,
        io: Box<WorkerIo>,
        has_init: bool,
    },
    /// There is no process.
    StartFailed { worker: WorkerKey, cause: JoinError },
    /// All initializers have returned, or one has failed.
    Initialized {
        worker: WorkerKey,
        result: Result<(), JoinError>,
        /// Their arguments that were in blobs.
        packed: Vec<PackedBlob>,
    },
    /// The worker wrote what cannot be.
    Distrusted {
        worker: WorkerKey,
        nonsense: Nonsense,
    },
}

/// A job, and how many of the outcomes in a reply count.
#[derive(Debug)]
pub(in crate::pool) struct JobOutcomes {
    pub(in crate::pool) job: Arc<dyn Job>,
    pub(in crate::pool) count: u32,
    /// Whether the pool's rule is asked about an error, and the core told what it says.
    pub(in crate::pool) asks_rule: bool,
}

/// A reply to a task that was read.
#[derive(Debug)]
pub(in crate::pool) struct FoundReply {
    pub(in crate::pool) worker: WorkerKey,
    pub(in crate::pool) head: Reply,
    /// Where the outcomes are in the driver's buffer.
    pub(in crate::pool) outcomes: Range<usize>,
    /// Added by the core: the job, and how many of the outcomes count. `None` if the task has an outcome already.
    pub(in crate::pool) job: Option<JobOutcomes>,
}

/// How far the start of a worker had come when it exited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::pool) enum StartProgress {
    /// It had run nothing of the user.
    Process,
    /// It ran an initializer, which is called so in errors.
    Initializer(String),
    /// It was ready for its first task.
    Done,
}

/// A worker that has exited, all of whose replies were read.
#[derive(Debug)]
pub(in crate::pool) struct FoundExit {
    pub(in crate::pool) worker: WorkerKey,
    pub(in crate::pool) end: ChildEnd,
    /// The end of its stderr, if it has crashed and its stderr is captured.
    pub(in crate::pool) stderr: String,
    pub(in crate::pool) progress: StartProgress,
    /// The lanes of the worker beside the first.
    pub(in crate::pool) others: Vec<WorkerKey>,
}
