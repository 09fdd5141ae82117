//! What the driver is told.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;

use super::initializer::InitJob;
use crate::schedule::WorkerKey;
use crate::spawn::Launched;
use crate::transfer::blob::PackedBlob;

/// What the driver is told.
#[derive(Debug)]
pub(super) enum Event {
    /// A worker was started, or could not be.
    Launched(WorkerKey, io::Result<Box<StartedWorker>>),
    /// A worker has ended; with no status, nobody knows how.
    Ended(WorkerKey, Option<ExitStatus>),
    /// There is something to look at.
    Look,
}

/// A worker with its preparation before it.
#[derive(Debug)]
pub(super) struct StartedWorker {
    pub(super) launched: Launched,
    /// None if it needs none: it is the copy of a process that was ready.
    pub(super) preparation: Option<Arc<dyn InitJob>>,
    /// Hold the arguments of the preparation that did not fit the ring.
    pub(super) packed: Vec<PackedBlob>,
}
