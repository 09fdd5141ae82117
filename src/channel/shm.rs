//! The memory of a channel.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::ring::{MOST_FRAMES, Ring};
use crate::sys::memory;
use crate::sys::memory::Mapping;
use crate::sys::robust_mutex::RobustMutex;

/// The bytes of data in a channel's ring. Messages longer than a quarter of it travel in shared memory of
/// their own, so that one long message does not keep the others waiting.
pub(crate) const RING_BYTES: usize = 256 * 1024;

/// The longest message that travels in the ring.
pub(crate) const LONGEST_INLINE: usize = RING_BYTES / 4;

/// One page: the words that senders and receivers share beside the ring, far apart.
const HEAD_BYTES: usize = 4096;
const CAPACITY: usize = 0;
const SHARED: usize = 8;
// Beside each lock what only its holder uses.
const SEND_LOCK: usize = 128;
const KNOWN_TAIL: usize = 192;
const RECEIVE_LOCK: usize = 256;
const KNOWN_HEAD: usize = 320;
const DATA_BELL: usize = 384;
const SPACE_BELL: usize = 448;
const CLOSED: usize = 512;
const GONE_SENDERS: usize = 576;
const GONE_RECEIVERS: usize = 580;
const TAGS: usize = 640;
const TAKEN_TAG: usize = 704;
const TAKEN_AT: usize = 712;
const LEAST_WANTED: usize = 768;
const ORPHANED: usize = 832;
const SENDERS_MOVES: usize = 896;
const RECEIVERS_MOVES: usize = 900;
const HOLDERS: usize = 1024;
/// Who it is, when it began, what it took, what it has done.
const HOLDER_BYTES: usize = 32;

/// So many processes that receive are told apart; more share the last place.
pub(super) const MOST_HOLDERS: usize = 64;

/// A channel as this process sees it.
#[derive(Debug)]
pub(super) struct Shm {
    pub(super) memory: OwnedFd,
    head: Arc<Mapping>,
    pub(super) ring: Ring,
    pub(super) send_lock: RobustMutex,
    pub(super) receive_lock: RobustMutex,
    pub(super) capacity: usize,
    /// Whether any number of processes hold either side: then they take locks, and it is counted what was received
    /// and is not done. Else one process at a time does; see `solo`.
    pub(super) shared: bool,
}

impl Shm {
    /// Makes the memory of a channel for `capacity` messages.
    pub(super) fn create(capacity: usize, shared: bool) -> io::Result<Self> {
        if capacity == 0 || capacity > MOST_FRAMES {
            let why = format!("a channel holds from 1 to {MOST_FRAMES} messages");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let len = HEAD_BYTES + Ring::footprint(RING_BYTES);
        let memory = memory::memfd("procession-channel", len)?;
        let head = Arc::new(Mapping::whole(&memory, HEAD_BYTES)?);
        head.word(CAPACITY)
            .store(capacity as u64, Ordering::Relaxed);
        head.word(SHARED)
            .store(u64::from(shared), Ordering::Relaxed);
        head.word(LEAST_WANTED).store(u64::MAX, Ordering::Relaxed);
        RobustMutex::create(Arc::clone(&head), SEND_LOCK)?;
        RobustMutex::create(Arc::clone(&head), RECEIVE_LOCK)?;
        Self::open(memory)
    }

    /// Maps the memory of a channel that somebody else made.
    pub(super) fn open(memory: OwnedFd) -> io::Result<Self> {
        let len = HEAD_BYTES + Ring::footprint(RING_BYTES);
        if memory::sealed_len(&memory)? != len {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let head = Arc::new(Mapping::whole(memory.as_fd(), HEAD_BYTES)?);
        let ring = Ring::map(memory.as_fd(), HEAD_BYTES, RING_BYTES)?;
        let capacity = head.word(CAPACITY).load(Ordering::Relaxed) as usize;
        Ok(Self {
            send_lock: RobustMutex::open(Arc::clone(&head), SEND_LOCK),
            receive_lock: RobustMutex::open(Arc::clone(&head), RECEIVE_LOCK),
            capacity: capacity.min(MOST_FRAMES),
            shared: head.word(SHARED).load(Ordering::Relaxed) != 0,
            memory,
            head,
            ring,
        })
    }

    #[inline]
    pub(super) fn data_bell(&self) -> &AtomicU32 {
        self.head.half_word(DATA_BELL)
    }

    #[inline]
    pub(super) fn space_bell(&self) -> &AtomicU32 {
        self.head.half_word(SPACE_BELL)
    }

    #[inline]
    pub(super) fn closed(&self) -> &AtomicU32 {
        self.head.half_word(CLOSED)
    }

    /// How often an end that can send went, in whatever process: whoever sees another number than before
    /// asks the kernel whether it was the last. Killed processes do not count theirs.
    #[inline]
    pub(super) fn gone_senders(&self) -> &AtomicU32 {
        self.head.half_word(GONE_SENDERS)
    }

    /// Likewise for ends that can receive.
    #[inline]
    pub(super) fn gone_receivers(&self) -> &AtomicU32 {
        self.head.half_word(GONE_RECEIVERS)
    }

    /// How often the one end that can send has arrived in another process.
    pub(super) fn senders_moves(&self) -> &AtomicU32 {
        self.head.half_word(SENDERS_MOVES)
    }

    /// Likewise the one that can receive.
    pub(super) fn receivers_moves(&self) -> &AtomicU32 {
        self.head.half_word(RECEIVERS_MOVES)
    }

    /// How far senders know receivers to be, for the holder of the senders' lock: the true word is in a cache
    /// line that receivers write with every message.
    #[inline]
    pub(super) fn known_tail(&self) -> &AtomicU64 {
        self.head.word(KNOWN_TAIL)
    }

    /// How far receivers know senders to be, for the holder of the receivers' lock.
    #[inline]
    pub(super) fn known_head(&self) -> &AtomicU64 {
        self.head.word(KNOWN_HEAD)
    }

    /// The last number under which descriptors were sent ahead of a message.
    pub(super) fn tags(&self) -> &AtomicU64 {
        self.head.word(TAGS)
    }

    /// The number under which descriptors were last taken out of the socket, or were about to be.
    pub(super) fn taken_tag(&self) -> &AtomicU64 {
        self.head.word(TAKEN_TAG)
    }

    /// Where the ring began when a message was last taken out of it, or was about to be.
    #[inline]
    pub(super) fn taken_at(&self) -> &AtomicU64 {
        self.head.word(TAKEN_AT)
    }

    /// A receiver died with the receivers' lock, and what it had begun is not settled.
    #[inline]
    pub(super) fn orphaned(&self) -> &AtomicU32 {
        self.head.half_word(ORPHANED)
    }

    /// The fewest bytes that anybody ever had to wait for.
    pub(super) fn least_wanted(&self) -> &AtomicU64 {
        self.head.word(LEAST_WANTED)
    }

    /// The number of the process that holds what was received at `place`; none, if nobody ever did, or many.
    #[inline]
    pub(super) fn holder(&self, place: usize) -> &AtomicU64 {
        self.head.word(Self::of_holder(place))
    }

    /// When that process began: process numbers are used again.
    pub(super) fn born(&self, place: usize) -> &AtomicU64 {
        self.head.word(Self::of_holder(place) + 8)
    }

    /// How much was received at `place`; written only under the receivers' lock.
    #[inline]
    pub(super) fn taken(&self, place: usize) -> &AtomicU64 {
        self.head.word(Self::of_holder(place) + 16)
    }

    /// How much of that is done.
    #[inline]
    pub(super) fn done(&self, place: usize) -> &AtomicU64 {
        self.head.word(Self::of_holder(place) + 24)
    }

    #[inline]
    fn of_holder(place: usize) -> usize {
        HOLDERS + HOLDER_BYTES * place.min(MOST_HOLDERS - 1)
    }
}
