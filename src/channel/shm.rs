//! The shared memory of a channel: one page of words, and behind it the ring with the messages.
//!
//! Every process that has an end of the channel maps this memory. What must stay true: every word is an atomic, and a
//! value that another process wrote is checked before it is used as an index or a length. Never here: the order in
//! which a protocol reads and writes the words; `mpmc` and `spsc` decide that.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::lock::{Holder, SharedLock};
use crate::ring::{MOST_FRAMES, Ring};
use crate::sys::memory;
use crate::sys::memory::Mapping;

/// The bytes of a channel's ring.
const CHANNEL_RING_BYTES: usize = 256 * 1024;

/// The longest message in the ring, in bytes. A longer message has shared memory of its own, so that it does not keep
/// the others waiting.
pub(super) const LONGEST_INLINE: usize = CHANNEL_RING_BYTES / 4;

/// One page of words. Words that different sides write lie in different cache lines.
const HEAD_BYTES: usize = 4096;
const CAPACITY: usize = 0;
const FLAVOR: usize = 8;
// Beside each lock lies what only its holder uses.
const SEND_LOCK: usize = 128;
const KNOWN_TAIL: usize = 192;
const RECEIVE_LOCK: usize = 256;
const KNOWN_HEAD: usize = 320;
const DATA_BELL: usize = 384;
const SPACE_BELL: usize = 448;
const CLOSED_FLAG: usize = 512;
const DROPPED_SENDERS: usize = 576;
const DROPPED_RECEIVERS: usize = 580;
const LAST_TAG: usize = 640;
const TAKEN_TAG: usize = 704;
const TAKEN_AT: usize = 712;
const SMALLEST_WAIT: usize = 768;
const NEEDS_RECOVERY: usize = 832;
const SENDER_MOVES: usize = 896;
const RECEIVER_MOVES: usize = 900;
const RECEIVER_ROWS: usize = 1024;
/// The words of a row: process number, start time, messages received, messages done.
const ROW_BYTES: usize = 32;

/// The rows of the table of receiving processes. More processes than this share the last row.
pub(super) const ROWS: usize = 64;

/// A channel's memory as this process has it mapped.
#[derive(Debug)]
pub(super) struct Shm {
    memory: OwnedFd,
    head: Arc<Mapping>,
    ring: Ring,
    capacity: usize,
}

impl Shm {
    /// Makes the memory of a channel for `capacity` messages. `flavor` is the number of its protocol.
    pub(super) fn create(capacity: usize, flavor: u64) -> io::Result<Self> {
        if capacity == 0 || capacity > MOST_FRAMES {
            let why = format!("a channel holds from 1 to {MOST_FRAMES} messages");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let len = HEAD_BYTES + Ring::footprint(CHANNEL_RING_BYTES);
        let memory = memory::memfd("procession-channel", len)?;
        let head = Arc::new(Mapping::whole(&memory, HEAD_BYTES)?);
        head.word(CAPACITY)
            .store(capacity as u64, Ordering::Relaxed);
        head.word(FLAVOR).store(flavor, Ordering::Relaxed);
        head.word(SMALLEST_WAIT).store(u64::MAX, Ordering::Relaxed);
        Self::open(memory)
    }

    /// Maps the memory of a channel that another process made.
    pub(super) fn open(memory: OwnedFd) -> io::Result<Self> {
        let len = HEAD_BYTES + Ring::footprint(CHANNEL_RING_BYTES);
        if memory::sealed_len(&memory)? != len {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let head = Arc::new(Mapping::whole(memory.as_fd(), HEAD_BYTES)?);
        let ring = Ring::map(memory.as_fd(), HEAD_BYTES, CHANNEL_RING_BYTES)?;
        let capacity = head.word(CAPACITY).load(Ordering::Relaxed) as usize;
        Ok(Self {
            capacity: capacity.min(MOST_FRAMES),
            memory,
            head,
            ring,
        })
    }

    /// The number of the protocol that the channel was made for.
    pub(super) fn flavor(&self) -> u64 {
        self.head.word(FLAVOR).load(Ordering::Relaxed)
    }

    /// The largest number of messages in the ring.
    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    #[inline]
    pub(super) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The lock of all senders and the lock of all receivers, in all processes.
    pub(super) fn locks(&self) -> io::Result<[SharedLock; 2]> {
        let holder = Holder::of(&self.memory)?;
        let lock =
            |at, index| SharedLock::new(Arc::clone(&self.head), at, index, Arc::clone(&holder));
        Ok([lock(SEND_LOCK, 0), lock(RECEIVE_LOCK, 1)])
    }

    /// The state of the receivers' doorbell. Its values are the protocol's.
    #[inline]
    pub(super) fn data_bell(&self) -> &AtomicU32 {
        self.head.half_word(DATA_BELL)
    }

    /// The state of the senders' doorbell. Its values are the protocol's.
    #[inline]
    pub(super) fn space_bell(&self) -> &AtomicU32 {
        self.head.half_word(SPACE_BELL)
    }

    /// Not 0 once the channel was closed, or a process has found that a side is gone.
    #[inline]
    pub(super) fn closed(&self) -> &AtomicU32 {
        self.head.half_word(CLOSED_FLAG)
    }

    /// How many sending ends were dropped, in all processes. A receiver that sees another number than before asks the
    /// kernel whether a sender is left. A killed process does not count its ends.
    #[inline]
    pub(super) fn dropped_senders(&self) -> &AtomicU32 {
        self.head.half_word(DROPPED_SENDERS)
    }

    /// How many receiving ends were dropped, in all processes.
    #[inline]
    pub(super) fn dropped_receivers(&self) -> &AtomicU32 {
        self.head.half_word(DROPPED_RECEIVERS)
    }

    /// How often a pipe's sending end has arrived in another process.
    pub(super) fn sender_moves(&self) -> &AtomicU32 {
        self.head.half_word(SENDER_MOVES)
    }

    /// How often a pipe's receiving end has arrived in another process.
    pub(super) fn receiver_moves(&self) -> &AtomicU32 {
        self.head.half_word(RECEIVER_MOVES)
    }

    /// The ring's tail as senders last read it. The true tail is in a cache line that receivers write with every
    /// message.
    #[inline]
    pub(super) fn known_tail(&self) -> &AtomicU64 {
        self.head.word(KNOWN_TAIL)
    }

    /// The ring's head as receivers last read it.
    #[inline]
    pub(super) fn known_head(&self) -> &AtomicU64 {
        self.head.word(KNOWN_HEAD)
    }

    /// The tag of the descriptors that were sent last.
    pub(super) fn last_tag(&self) -> &AtomicU64 {
        self.head.word(LAST_TAG)
    }

    /// The tag of the descriptors that a receiver took last, or was about to take.
    pub(super) fn taken_tag(&self) -> &AtomicU64 {
        self.head.word(TAKEN_TAG)
    }

    /// The ring's tail when a receiver last took a message, or was about to take it.
    #[inline]
    pub(super) fn taken_at(&self) -> &AtomicU64 {
        self.head.word(TAKEN_AT)
    }

    /// Not 0 if a receiver died with the receivers' lock and its message is not accounted for.
    #[inline]
    pub(super) fn needs_recovery(&self) -> &AtomicU32 {
        self.head.half_word(NEEDS_RECOVERY)
    }

    /// The fewest bytes that a sender has ever waited for.
    pub(super) fn smallest_wait(&self) -> &AtomicU64 {
        self.head.word(SMALLEST_WAIT)
    }

    /// The number of the process that counts in `row`; 0 for an unused row and for the shared last row.
    #[inline]
    pub(super) fn row_pid(&self, row: usize) -> &AtomicU64 {
        self.row_word(row, 0)
    }

    /// When that process started. Process numbers are used again, so the number alone does not identify it.
    pub(super) fn row_started(&self, row: usize) -> &AtomicU64 {
        self.row_word(row, 8)
    }

    /// How many messages were received in `row`. Written only under the receivers' lock.
    #[inline]
    pub(super) fn row_received(&self, row: usize) -> &AtomicU64 {
        self.row_word(row, 16)
    }

    /// How many messages of `row` were marked as done.
    #[inline]
    pub(super) fn row_done(&self, row: usize) -> &AtomicU64 {
        self.row_word(row, 24)
    }

    #[inline]
    fn row_word(&self, row: usize, offset: usize) -> &AtomicU64 {
        let start = RECEIVER_ROWS + ROW_BYTES * row.min(ROWS - 1);
        self.head.word(start + offset)
    }
}

impl AsFd for Shm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}
