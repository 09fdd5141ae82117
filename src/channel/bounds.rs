//! How much a channel holds: a number of messages, and a number of bytes if that is bounded too; and how long a message
//! may be.
//!
//! In a channel that bounds bytes each frame begins with the number of bytes that were sent before it. So a sender that
//! reads the oldest frame knows how many bytes wait, and no process that is killed leaves a wrong count behind. Never
//! here: the ring.

use crate::transfer::longest_value;
use crate::transfer::longest_value::longest_value;

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
    /// Bytes of one message. A longer message is not sent, and not received.
    pub(crate) longest: u64,
}

impl Bounds {
    /// So many messages, of any size.
    pub(crate) fn of_items(items: usize) -> Self {
        Self {
            items,
            bytes: u64::MAX,
            longest: longest_value(),
        }
    }

    /// Why a message of `len` bytes is not sent, or not received, if it is too long.
    #[inline]
    pub(super) fn check_length(self, len: u64) -> Result<(), String> {
        match len <= self.longest {
            true => Ok(()),
            false => Err(longest_value::too_long(len, self.longest)),
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

#[cfg(test)]
mod tests {
    use serde_bytes::ByteBuf;

    use super::*;
    use crate::channel::{Flavor, Mpmc, Rx, Spsc, TryRecvError, Tx, create_within};

    /// On the stack, in the ring, in memory of its own, and so long that a thread decodes it.
    const LENGTHS: [usize; 4] = [100, 10_000, 300_000, 3_000_000];

    /// A sender that knows no limit sends a message of each length, and a short enough message behind each.
    fn beyond_limit<F: Flavor>() {
        for len in LENGTHS {
            let bounds = Bounds {
                longest: len as u64 - 1,
                ..Bounds::of_items(4)
            };
            let (sender, receiver) = create_within::<F>(bounds).unwrap();
            let attacker = Tx::<ByteBuf, F>::new(F::new(sender.end().without_limit()).unwrap());
            let rx = Rx::<ByteBuf, F>::new(receiver);
            for _ in 0..2 {
                attacker.try_send(ByteBuf::from(vec![7; len])).unwrap();
                attacker.try_send(ByteBuf::from(vec![7; 9])).unwrap();
                match rx.try_recv() {
                    Err(TryRecvError::Decode(why)) if why.contains("at most") => {}
                    other => panic!("{len}: {other:?}"),
                }
                assert_eq!(rx.try_recv().unwrap().len(), 9);
            }
            // The memory of a message that was not read is its sender's again.
            assert!(attacker.flavor().end().has_memory());
        }
    }

    #[test]
    fn message_beyond_the_limit_is_not_received_and_no_other_is_lost() {
        beyond_limit::<Mpmc>();
        beyond_limit::<Spsc>();
    }

    #[test]
    fn message_beyond_the_limit_is_not_received_beside_the_ring() {
        let bounds = Bounds {
            longest: 50_000,
            ..Bounds::of_items(64)
        };
        let (sender, receiver) = create_within::<Mpmc>(bounds).unwrap();
        let attacker = Tx::<ByteBuf, Mpmc>::new(Mpmc::new(sender.end().without_limit()).unwrap());
        // More than the ring has room for.
        for _ in 0..20 {
            attacker.try_send(ByteBuf::from(vec![7; 60_000])).unwrap();
        }
        attacker.try_send(ByteBuf::from(vec![7; 9])).unwrap();
        let rx = Rx::<ByteBuf, Mpmc>::new(receiver);
        for _ in 0..20 {
            assert!(matches!(rx.try_recv(), Err(TryRecvError::Decode(_))));
        }
        assert_eq!(rx.try_recv().unwrap().len(), 9);
    }
}
