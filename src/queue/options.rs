//! How much a queue holds.

use crate::channel::Bounds;

/// How much a queue holds: a number of messages, and a number of bytes; and how long a message may be. For
/// [`queue_with`](crate::queue_with()).
#[derive(Debug, Clone)]
pub struct QueueOptions(Bounds);

impl QueueOptions {
    /// At most `capacity` messages, of any size.
    pub fn new(capacity: usize) -> Self {
        Self(Bounds::of_items(capacity))
    }

    /// At most `bytes` bytes too: the encoded messages that wait to be received, taken together.
    ///
    /// A message that is larger than this passes alone: it is sent when no other message waits. The default,
    /// [`u64::MAX`], is no bound.
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.0.bytes = bytes;
        self
    }

    /// Limits how long a message may be, in bytes as it is encoded.
    ///
    /// A longer message is not sent: the error has the value, and is [`is_encode`](crate::SendError::is_encode). If a
    /// process sends one all the same, because it is corrupted, it is not read: the receiver gets
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
