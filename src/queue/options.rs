//! How much a queue holds.

use crate::channel::Bounds;

/// How much a queue holds: a number of messages, and a number of bytes. For [`queue_with`](crate::queue_with()).
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

    pub(super) fn bounds(&self) -> Bounds {
        self.0
    }
}
