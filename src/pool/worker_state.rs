//! What is known about one worker.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::initializer::InitJob;
use crate::call::RequestWriter;
use crate::error::ErrorKind;
use crate::ring::Cursor;
use crate::schedule::TaskKey;
use crate::spawn::SignalHandle;
use crate::sys::clock::Moment;

/// One worker, from the decision to start it to its burial.
pub(super) struct Worker {
    pub(super) number: usize,
    pub(super) signal_handle: Option<Arc<SignalHandle>>,
    /// Dropped when nobody wants it any more: a start may take long, and a preload for ever.
    pub(super) wanted: Option<oneshot::Sender<()>>,
    pub(super) requests: Option<RequestWriter>,
    pub(super) preparation: Option<Arc<dyn InitJob>>,
    pub(super) ready: bool,
    /// It has done something, so it was able to start.
    pub(super) proven: bool,
    pub(super) stopping: bool,
    pub(super) doom: Option<PendingKill>,
    pub(super) done: u64,
    pub(super) since: Moment,
    /// Something was written for it since it was last woken.
    pub(super) touched: bool,
    /// Tasks in its ring whose descriptors this process has, too, until they have begun.
    pub(super) has_fds: Vec<TaskKey>,
    /// It did not begin what lies there, when others would have.
    pub(super) doubted: Option<Cursor>,
}

impl Worker {
    /// Kills it now. Its end is heard of later.
    pub(super) fn kill(&mut self) {
        if let Some(doom) = &mut self.doom {
            doom.done = true;
        }
        self.stopping = true;
        self.wanted = None;
        if let Some(signal_handle) = &self.signal_handle {
            signal_handle.kill();
        }
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.signal_handle
            .as_ref()
            .map(|signal_handle| signal_handle.pid())
    }
}

/// A worker that is to die for one task.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingKill {
    pub(super) task: TaskKey,
    pub(super) kind: ErrorKind,
    /// When it is killed, if the task has not ended by itself.
    pub(super) at: Moment,
    pub(super) done: bool,
}
