//! The shared memory of a channel: one page of words, behind it the ring with the messages, and behind that what does
//! not fit the ring.
//!
//! Every process that has an end of the channel maps the words and the ring. The rest is not mapped; see `spill`. What
//! must stay true: every word is an atomic, and a value that another process wrote is checked before it is used as an
//! index or a length. Never here: the order in which a protocol reads and writes the words; `mpmc` and `spsc` decide
//! that.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::bounds::Bounds;
use crate::lock::{Holder, SharedLock};
use crate::ring::{MOST_FRAMES, Ring, frame_bytes};
use crate::sys::memory;
use crate::sys::memory::Mapping;

/// The fewest bytes of a channel's ring.
const LEAST_RING_BYTES: usize = 256 * 1024;

/// The longest message in the ring, in bytes. A longer message has shared memory of its own, so that it does not keep
/// the others waiting.
pub(super) const LONGEST_INLINE: usize = LEAST_RING_BYTES / 4;

/// The fewest bytes of a ring that are for messages in the ring. The others are left for frames that name messages
/// elsewhere.
const LEAST_INLINE_BYTES: usize = 2 * LONGEST_INLINE;

/// One page of words. Words that different sides write lie in different cache lines.
const HEAD_BYTES: usize = 4096;
const CAPACITY: usize = 0;
const FLAVOR: usize = 8;
const MOST_BYTES: usize = 16;
const SPILLS: usize = 24;
// Beside each lock lies what only its holder uses.
const SEND_LOCK: usize = 128;
const KNOWN_TAIL: usize = 192;
const SPILL_END: usize = 200;
const SENT_BYTES: usize = 208;
const RECEIVE_LOCK: usize = 256;
const KNOWN_HEAD: usize = 320;
const SPILL_FREED: usize = 328;
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
    bounds: Bounds,
    /// The bytes of the ring that a message must leave free for frames that name messages elsewhere.
    reserve: usize,
}

impl Shm {
    /// Makes the memory of a channel. `flavor` is the number of its protocol. A channel that spills takes as many
    /// messages as its bounds say, of any size.
    pub(super) fn create(bounds: Bounds, flavor: u64, spills: bool) -> io::Result<Self> {
        if bounds.items == 0 || bounds.items > MOST_FRAMES {
            let why = format!("a channel holds from 1 to {MOST_FRAMES} messages");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let ring_bytes = ring_bytes(reserve(bounds, spills));
        let len = HEAD_BYTES + Ring::footprint(ring_bytes);
        let memory = memory::growing_memfd("procession-channel", len)?;
        let head = Arc::new(Mapping::whole(&memory, HEAD_BYTES)?);
        let set = |at: usize, value: u64| head.word(at).store(value, Ordering::Relaxed);
        set(CAPACITY, bounds.items as u64);
        set(MOST_BYTES, bounds.bytes);
        set(SPILLS, spills.into());
        set(FLAVOR, flavor);
        set(SMALLEST_WAIT, u64::MAX);
        Self::open(memory, bounds.longest)
    }

    /// Maps the memory of a channel that another process made. The limit of one message's length is not in the memory,
    /// where any process could raise it.
    pub(super) fn open(memory: OwnedFd, longest: u64) -> io::Result<Self> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let len = memory::least_len(&memory)?;
        if len < HEAD_BYTES + Ring::footprint(LEAST_RING_BYTES) {
            return Err(invalid());
        }
        let head = Arc::new(Mapping::whole(memory.as_fd(), HEAD_BYTES)?);
        let get = |at: usize| head.word(at).load(Ordering::Relaxed);
        let bounds = Bounds {
            items: (get(CAPACITY) as usize).min(MOST_FRAMES),
            bytes: get(MOST_BYTES),
            longest,
        };
        let reserve = reserve(bounds, get(SPILLS) != 0);
        let ring_bytes = ring_bytes(reserve);
        if len < HEAD_BYTES + Ring::footprint(ring_bytes) {
            return Err(invalid());
        }
        let ring = Ring::map(memory.as_fd(), HEAD_BYTES, ring_bytes)?;
        Ok(Self {
            memory,
            head,
            ring,
            bounds,
            reserve,
        })
    }

    /// The number of the protocol that the channel was made for.
    pub(super) fn flavor(&self) -> u64 {
        self.head.word(FLAVOR).load(Ordering::Relaxed)
    }

    /// Whether messages that do not fit the ring are in the unmapped part of the memory.
    pub(super) fn spills(&self) -> bool {
        self.reserve > 0
    }

    /// How much the channel holds.
    #[inline]
    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The bytes of the ring that stay free behind a frame with `body` bytes, for the frames of messages elsewhere.
    ///
    /// The ring has room for as many such frames as the channel holds messages. Only frames that are longer must leave
    /// it to them: behind the last of those there are fewer messages than that.
    #[inline]
    pub(super) fn reserve(&self, body: usize) -> usize {
        match body <= self.bounds.place_frame() {
            true => 0,
            false => self.reserve,
        }
    }

    /// Where the unmapped part of the memory begins.
    pub(super) fn spill_start(&self) -> u64 {
        (HEAD_BYTES + Ring::footprint(self.ring.capacity())) as u64
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

    /// How the channel has ended, if it has; see `trust`.
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

    /// Where the unmapped part has room. Written only under the senders' lock.
    pub(super) fn spill_end(&self) -> &AtomicU64 {
        self.head.word(SPILL_END)
    }

    /// Up to where the unmapped part was given back to the kernel. Written only under the receivers' lock.
    pub(super) fn spill_freed(&self) -> &AtomicU64 {
        self.head.word(SPILL_FREED)
    }

    /// The bytes of all messages that were sent, if bytes are bounded. Written only under the senders' lock.
    pub(super) fn sent_bytes(&self) -> &AtomicU64 {
        self.head.word(SENT_BYTES)
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

    /// The smallest message, in bytes, whose sender has ever waited for others to be received.
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

/// The bytes of the ring that are left for frames that name messages elsewhere.
fn reserve(bounds: Bounds, spills: bool) -> usize {
    match spills {
        true => bounds.items * frame_bytes(bounds.place_frame()),
        false => 0,
    }
}

fn ring_bytes(reserve: usize) -> usize {
    let bytes = (reserve + LEAST_INLINE_BYTES).next_power_of_two();
    bytes.max(LEAST_RING_BYTES)
}

impl AsFd for Shm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}
