//! What the driver is told by the rest of the pool.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;

use super::initializer::InitJob;
use crate::schedule::WorkerKey;
use crate::spawn::Launched;
use crate::transfer::blob::PackedBlob;

/// What has happened outside the driver.
#[derive(Debug)]
pub(super) enum Event {
    /// A worker was started, or could not be.
    Started(WorkerKey, io::Result<Box<StartedWorker>>),
    /// A worker has exited. There is no status if something else in the application has reaped it.
    Exited(WorkerKey, Option<ExitStatus>),
    /// Something has changed in the core.
    Wake,
}

/// A worker's process, with the requests of its initializers in its ring.
#[derive(Debug)]
pub(super) struct StartedWorker {
    pub(super) launched: Launched,
    /// What the worker runs before its first task, in order. Empty for a fork of a server that had run `init`: such a
    /// worker needs no handshake.
    pub(super) init: Vec<Arc<dyn InitJob>>,
    /// The arguments of initializers that were too large for the ring.
    pub(super) packed: Vec<PackedBlob>,
}
