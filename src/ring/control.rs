//! Where things are in a ring's memory.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use crate::sys::mapping::{Gap, Mapping};

/// Bytes before the data: one page, so that the data is page-aligned and can be mapped twice.
///
/// 64 KiB, the largest page size of the supported machines (aarch64), would be safe everywhere; the
/// page size is asked for instead, because the memory counts.
fn control_bytes() -> usize {
    rustix::param::page_size()
}

// One line per word that different sides write, two apart: x86 fetches cache lines in pairs.
const HEAD: usize = 0;
const TAIL: usize = 128;
const CONSUMER_SLEEPS: usize = 256;
const PRODUCER_SLEEPS: usize = 384;

/// Length and kind, before every frame's body.
pub(super) const HEADER_BYTES: usize = 8;
/// Frames start at multiples of this, so that the words in them are aligned.
pub(super) const ALIGN: usize = 8;

/// The memory of one ring, shared by a producer and a consumer.
#[derive(Debug, Clone)]
pub(crate) struct Ring {
    mapping: Arc<Mapping>,
    capacity: usize,
    /// Where the data begins.
    data: usize,
}

impl Ring {
    /// How many bytes of a memfd a ring with `capacity` bytes of data takes.
    pub(crate) fn footprint(capacity: usize) -> usize {
        control_bytes() + capacity
    }

    /// Maps the ring that starts at `offset`. `capacity` is a power of two and at least a page.
    pub(crate) fn map(memory: impl AsFd, offset: usize, capacity: usize) -> io::Result<Self> {
        if !capacity.is_power_of_two() || !capacity.is_multiple_of(control_bytes()) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let mapping = Mapping::mirrored(memory, offset, control_bytes(), capacity)?;
        Ok(Self {
            mapping: Arc::new(mapping),
            capacity,
            data: control_bytes(),
        })
    }

    /// The bytes of data it holds.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn head(&self) -> &AtomicU64 {
        self.mapping.word(HEAD)
    }

    pub(super) fn tail(&self) -> &AtomicU64 {
        self.mapping.word(TAIL)
    }

    /// Non-zero while the consumer sleeps or is about to.
    pub(crate) fn consumer_sleeps(&self) -> &AtomicU32 {
        self.mapping.half_word(CONSUMER_SLEEPS)
    }

    /// Non-zero while the producer sleeps for want of space, or is about to.
    pub(crate) fn producer_sleeps(&self) -> &AtomicU32 {
        self.mapping.half_word(PRODUCER_SLEEPS)
    }

    /// The offset in the mapping of the byte at `position`; `len` bytes from there are contiguous.
    #[inline]
    fn place(&self, position: u64, len: usize) -> usize {
        debug_assert!(len <= self.capacity);
        let within = (position & (self.capacity as u64 - 1)) as usize;
        self.data + within
    }

    #[inline]
    pub(super) fn write(&self, position: u64, bytes: &[u8]) {
        self.mapping.write(self.place(position, bytes.len()), bytes);
    }

    /// Lends `len` bytes from `position` for writing.
    #[inline]
    pub(super) fn gap(&self, position: u64, len: usize) -> Gap<'_> {
        self.mapping.gap(self.place(position, len), len)
    }

    #[inline]
    pub(super) fn read(&self, position: u64, len: usize, out: &mut Vec<u8>) {
        self.mapping.read(self.place(position, len), len, out);
    }

    /// The word at `position`, which is aligned.
    #[inline]
    pub(super) fn word(&self, position: u64) -> &AtomicU64 {
        self.mapping.word(self.place(position, 8))
    }
}

/// Takes the sleeper that `flag` announces, after a counter it waits for was stored.
///
/// True for exactly one of those who ask: that one must wake it.
#[inline]
pub(super) fn take_sleeper(flag: &AtomicU32) -> bool {
    fence(Ordering::SeqCst);
    flag.load(Ordering::Relaxed) != 0 && flag.swap(0, Ordering::Relaxed) != 0
}

/// Announces a sleeper. The caller looks again afterwards, and only then sleeps.
#[inline]
pub(super) fn announce_sleeper(flag: &AtomicU32) {
    flag.store(1, Ordering::Relaxed);
    fence(Ordering::SeqCst);
}

/// The bytes a frame with `body` bytes takes.
#[inline]
pub(super) fn frame_bytes(body: usize) -> usize {
    (HEADER_BYTES + body).next_multiple_of(ALIGN)
}
