//! The right to end something, apart from the right to await it.

use std::fmt;
use std::sync::Arc;

/// Something that can be ended from anywhere.
pub(crate) trait Abort: Send + Sync {
    /// Ends it, if it has not ended.
    fn abort(&self);

    /// Whether it has ended.
    fn is_finished(&self) -> bool;
}

/// Ends a process or a task, from anywhere and any number of times.
///
/// Dropping it does nothing. It keeps neither the process nor the task running.
#[derive(Clone)]
#[must_use = "an abort handle does nothing until `abort` is called"]
pub struct AbortHandle(Arc<dyn Abort>);

impl AbortHandle {
    pub(crate) fn new(target: Arc<dyn Abort>) -> Self {
        Self(target)
    }

    /// Ends the process or the task, as its handle's `abort` does. Does nothing if it has ended.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Whether it has ended.
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
