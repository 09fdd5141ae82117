//! Whether a worker leaves in an orderly way, and when.
//!
//! Lives in the application; pure. The state of its process is another matter ([`WorkerLife`](super::worker_state)): a
//! worker that leaves may be told meanwhile to cancel its task, or may die.

use crate::pool::monitoring::recycle_reason::RecycleReason;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum Departure {
    /// It stays.
    No,
    /// It takes tasks until its replacement is ready.
    WhenReplaced(RecycleReason),
    /// It takes no more tasks, and ends when it has finished those it has. Without a reason it is not replaced.
    AfterLastTask(Option<RecycleReason>),
}

impl Departure {
    /// Whether another worker takes its place, or is to take it.
    pub(in crate::pool) fn is_decided(self) -> bool {
        self != Self::No
    }

    /// Whether a worker with its number must take its place.
    pub(in crate::pool) fn needs_successor(self) -> bool {
        matches!(self, Self::WhenReplaced(_) | Self::AfterLastTask(Some(_)))
    }

    /// Whether it takes no more tasks.
    pub(in crate::pool) fn is_final(self) -> bool {
        matches!(self, Self::AfterLastTask(_))
    }

    /// Whether it may be given another task.
    pub(in crate::pool) fn allows_tasks(self) -> bool {
        !self.is_final()
    }
}
