//! What the driver has found since the core's last tick.

use std::ops::Range;
use std::sync::Arc;

use super::worker_state::WorkerIo;
use crate::call::envelope::Reply;
use crate::call::job::Job;
use crate::error::JoinError;
use crate::schedule::WorkerKey;
use crate::spawn::ChildEnd;
use crate::transfer::blob::PackedBlob;
use crate::transfer::nonsense::Nonsense;

/// Everything that the driver reports to one tick.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) changes: Vec<WorkerChange>,
    pub(super) replies: Vec<FoundReply>,
    /// Workers that have more memory than they may have.
    pub(super) overgrown: Vec<WorkerKey>,
    pub(super) exits: Vec<FoundExit>,
    /// Cached values without a handle.
    pub(super) uncached: Vec<u64>,
}

/// A worker that was started, is ready, or must not go on.
#[derive(Debug)]
pub(super) enum WorkerChange {
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
pub(super) struct JobOutcomes {
    pub(super) job: Arc<dyn Job>,
    pub(super) count: u32,
    /// Whether the pool's rule is asked about an error, and the core told what it says.
    pub(super) asks_rule: bool,
}

/// A reply to a task that was read.
#[derive(Debug)]
pub(super) struct FoundReply {
    pub(super) worker: WorkerKey,
    pub(super) head: Reply,
    /// Where the outcomes are in the driver's buffer.
    pub(super) outcomes: Range<usize>,
    /// Added by the core: the job, and how many of the outcomes count. `None` if the task has an outcome already.
    pub(super) job: Option<JobOutcomes>,
}

/// A worker that has exited, all of whose replies were read.
#[derive(Debug)]
pub(super) struct FoundExit {
    pub(super) worker: WorkerKey,
    pub(super) end: ChildEnd,
    /// Whether it was ready for its first request.
    pub(super) was_ready: bool,
    /// What the initializer that had not returned is called in errors.
    pub(super) init: Option<String>,
}
