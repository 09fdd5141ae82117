//! What the driver is told by the rest of the pool.

use std::io;
use std::sync::Arc;

use super::captured_output::TailRequest;
use super::initializer::InitJob;
use crate::schedule::WorkerKey;
use crate::spawn::{ChildEnd, Launched};
use crate::sys::doorbell::Doorbell;
use crate::transfer::blob::PackedBlob;

/// What has happened outside the driver.
#[derive(Debug)]
pub(in crate::pool) enum DriverEvent {
    /// A worker was started, or could not be.
    Started(WorkerKey, io::Result<Box<StartedWorker>>),
    /// A worker has exited. The end of its stderr, if it has crashed and its stderr is captured.
    Exited(WorkerKey, ChildEnd, String),
    /// The last handle on a cached value was dropped.
    Uncached(u64),
    /// Something has changed in the core.
    Wake,
}

/// A worker's process, with the requests of its initializers in its ring.
#[derive(Debug)]
pub(in crate::pool) struct StartedWorker {
    pub(in crate::pool) launched: Launched,
    /// The doorbell that it rings.
    pub(in crate::pool) doorbell: Doorbell,
    /// What the worker runs before its first task, in order. Empty for a fork of a server that had run `init`: such a
    /// worker needs no handshake.
    pub(in crate::pool) init: Vec<Arc<dyn InitJob>>,
    /// The arguments of initializers that were too large for the ring.
    pub(in crate::pool) packed: Vec<PackedBlob>,
    /// Asks for the end of its stderr, if that is captured.
    pub(in crate::pool) stderr: Option<TailRequest>,
}
