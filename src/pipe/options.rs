//! How long the messages of a pipe may be.

use crate::channel::{Bounds, MOST_MESSAGES};

/// How long the messages of a pipe may be. For [`pipe_with`](crate::pipe_with()) and
/// [`channel_with`](crate::channel_with()).
#[derive(Debug, Clone)]
pub struct PipeOptions(Bounds);

impl PipeOptions {
    /// As [`pipe`](crate::pipe()) and [`channel`](crate::channel()) make them.
    pub fn new() -> Self {
        Self(Bounds::of_items(MOST_MESSAGES))
    }

    /// Limits how long a message may be, in bytes as it is encoded.
    ///
    /// A longer message is not sent: the error has the value, and is [`is_encode`](crate::SendError::is_encode). If the
    /// other process sends one all the same, because it is corrupted, it is not read: the receiver gets
    /// [`RecvError::Decode`](crate::RecvError::Decode), and no other message is lost. By default the limit is 4 GiB, or
    /// half of the machine's memory if that is less. A decoded value may take more memory than its bytes.
    pub fn message_limit(mut self, bytes: u64) -> Self {
        self.0.longest = bytes;
        self
    }

    pub(super) fn bounds(&self) -> Bounds {
        self.0
    }
}

impl Default for PipeOptions {
    fn default() -> Self {
        Self::new()
    }
}
