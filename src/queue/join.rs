//! What joining a queue can say.

use std::fmt;

/// [`Receiver::task_done`](crate::Receiver::task_done) was called once more than this process received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotReceived(pub(super) ());

impl fmt::Display for NotReceived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("more messages were called done than were received here")
    }
}

impl std::error::Error for NotReceived {}

/// Messages will never be done, because whoever received them, or could have, is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abandoned(pub(super) usize);

impl Abandoned {
    /// How many messages were not done.
    pub fn count(&self) -> usize {
        self.0
    }
}

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} messages were left undone by receivers that are gone",
            self.0
        )
    }
}

impl std::error::Error for Abandoned {}
