//! A handle that aborts a task or a process.
//!
//! Lives in the parent.

use std::fmt;
use std::sync::Arc;

/// A task or a process that can be aborted.
pub(crate) trait Abort: Send + Sync {
    /// Aborts it. Does nothing if it has ended.
    fn abort(&self);

    /// Whether it has ended.
    fn is_finished(&self) -> bool;
}

/// Aborts a task or a process. Made by [`TaskHandle::abort_handle`](crate::TaskHandle::abort_handle) and
/// [`ProcessHandle::abort_handle`](crate::ProcessHandle::abort_handle).
///
/// It can be cloned and sent to other threads. It keeps neither a pool nor a process alive, and dropping it does
/// nothing.
#[derive(Clone)]
pub struct AbortHandle(Arc<dyn Abort>);

impl AbortHandle {
    pub(crate) fn new(target: Arc<dyn Abort>) -> Self {
        Self(target)
    }

    /// Aborts the task or process, as the `abort` of its handle does. Does nothing if it has ended.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Whether the task or process has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle")
            .field("finished", &self.is_finished())
            .finish()
    }
}
