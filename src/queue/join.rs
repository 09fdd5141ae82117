//! The errors of joining a queue.

use std::fmt;

/// [`Receiver::task_done`](crate::Receiver::task_done) was called more often than messages were received in this
/// process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotReceived(pub(super) ());

impl fmt::Display for NotReceived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("more messages were marked as done than were received in this process")
    }
}

impl std::error::Error for NotReceived {}

/// Messages of a queue will never be marked as done, because the processes that received them, or could receive them,
/// are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abandoned(pub(super) usize);

impl Abandoned {
    /// How many messages were not marked as done.
    pub fn count(&self) -> usize {
        self.0
    }
}

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} messages were not done, and the processes that received them, or could, are gone",
            self.0
        )
    }
}

impl std::error::Error for Abandoned {}
