//! How much a channel holds: a number of messages, and a number of bytes if that is bounded too.
//!
//! In a channel that bounds bytes each frame begins with the number of bytes that were sent before it. So a sender that
//! reads the oldest frame knows how many bytes wait, and no process that is killed leaves a wrong count behind. Never
//! here: the ring.

/// The bytes of a frame that say how many bytes were sent before it.
pub(super) const SUM_BYTES: usize = 8;

/// The bytes of a frame that name a message elsewhere: its place and its length.
pub(super) const PLACE_BYTES: usize = 16;

/// How much a channel holds at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Messages.
    pub(crate) items: usize,
    /// Bytes of all messages together; a larger message passes alone.
    pub(crate) bytes: u64,
}

impl Bounds {
    /// So many messages, of any size.
    pub(crate) fn of_items(items: usize) -> Self {
        Self {
            items,
            bytes: u64::MAX,
        }
    }

    /// Whether bytes are bounded.
    #[inline]
    pub(super) fn has_bytes(self) -> bool {
        self.bytes != u64::MAX
    }

    /// The length of the body of a frame that names a message elsewhere.
    #[inline]
    pub(super) fn place_frame(self) -> usize {
        PLACE_BYTES + self.sum_len()
    }

    /// The bytes at the beginning of each frame that say how many bytes were sent before it.
    #[inline]
    pub(super) fn sum_len(self) -> usize {
        match self.has_bytes() {
            true => SUM_BYTES,
            false => 0,
        }
    }
}

/// What a sender waits for: room for its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wanted {
    /// The length of the frame's body.
    pub(super) frame: usize,
    /// The bytes of the message, wherever they are.
    pub(super) bytes: u64,
}
