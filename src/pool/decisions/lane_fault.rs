//! Why tasks of a worker have ended with another task of the same worker.
//!
//! Lives in the application; pure.

/// Why a task of one lane has ended the tasks of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum LaneFault {
    /// It was cancelled, or its time was over, and it has not ended within the grace.
    DidNotEnd,
    /// It has gone over the memory limit of the worker.
    OverMemory,
}

impl LaneFault {
    /// As the reason of an error.
    pub(in crate::pool) fn reason(self) -> &'static str {
        match self {
            Self::DidNotEnd => {
                "its worker was killed because another task there did not end in time"
            }
            Self::OverMemory => "another task of its worker has gone over the memory limit",
        }
    }
}
