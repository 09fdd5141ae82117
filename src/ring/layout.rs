//! The layout of a ring's memory: control words, then data.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use crate::sys::buffer::{StackBuf, WriteCursor};
use crate::sys::memory::Mapping;

/// Bytes before the data: one page, so that the data is page-aligned and can be mapped twice.
///
/// 64 KiB, the largest page size of the supported machines (aarch64), would be safe everywhere. The kernel's page size
/// is used instead, because every ring takes this memory.
fn control_bytes() -> usize {
    rustix::param::page_size()
}

// Words that different sides write are 128 bytes apart: x86 fetches 64-byte cache lines in pairs.
const HEAD: usize = 0;
const TAIL: usize = 128;
const CONSUMER_SLEEPS: usize = 256;
const PRODUCER_SLEEPS: usize = 384;
const NOTE: usize = 512;
const PROGRESS: usize = 640;
const MARK_AT: usize = 648;
const SERVES_AT: usize = 656;
const ASIDE: usize = 1024;

/// The position of a side. Bytes and frames share a word, so that a single store moves both.
///
/// The low 40 bits count units of [`ALIGN`] bytes, the next 23 bits count frames. Both counters wrap. Only differences
/// are used, and they are far smaller: a ring holds less than 2^40 units and fewer than 2^23 frames. The highest bit is
/// no part of the position: in the producer's word it is [`ENDED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cursor(u64);

const UNIT_BITS: u32 = 40;
const UNITS: u64 = (1 << UNIT_BITS) - 1;
const FRAMES: u64 = (1 << (63 - UNIT_BITS)) - 1;

/// The consumer sets this bit in the producer's word to end the ring. [`Writer::commit_unless_ended`] fails afterwards.
///
/// [`Writer::commit_unless_ended`]: super::Writer::commit_unless_ended
pub(super) const ENDED: u64 = 1 << 63;

/// The most frames a ring may hold.
pub(crate) const MOST_FRAMES: usize = (FRAMES / 2) as usize;

impl Cursor {
    #[inline]
    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits & !ENDED)
    }

    #[inline]
    pub(super) fn to_bits(self) -> u64 {
        self.0
    }

    /// A number of the frame that begins here, which no other frame of the ring has for a very long time. Not 0.
    #[inline]
    pub(crate) fn number(self) -> u64 {
        self.0 + 1
    }

    /// The byte offset of the position; it wraps at 2^43.
    #[inline]
    fn byte(self) -> u64 {
        (self.0 & UNITS) * ALIGN as u64
    }

    /// The position after a frame of `frame` bytes.
    #[inline]
    pub(super) fn after(self, frame: usize) -> Self {
        let units = (self.0 & UNITS).wrapping_add((frame / ALIGN) as u64) & UNITS;
        let frames = (self.0 >> UNIT_BITS).wrapping_add(1) & FRAMES;
        Self(frames << UNIT_BITS | units)
    }

    /// The bytes from `earlier` to here.
    #[inline]
    pub(super) fn bytes_since(self, earlier: Self) -> u64 {
        ((self.0 & UNITS).wrapping_sub(earlier.0 & UNITS) & UNITS) * ALIGN as u64
    }

    /// The frames from `earlier` to here.
    #[inline]
    pub(super) fn frames_since(self, earlier: Self) -> usize {
        ((self.0 >> UNIT_BITS).wrapping_sub(earlier.0 >> UNIT_BITS) & FRAMES) as usize
    }
}

/// Length and kind, before every frame's body.
pub(super) const HEADER_BYTES: usize = 8;
/// Frames start at multiples of this, so that the words in them are aligned.
pub(super) const ALIGN: usize = 8;

/// Bytes before the data of a ring that is not mapped twice: more than the words above take, so that its first
/// frame lies in the same page.
const FLAT_CONTROL_BYTES: usize = 1024;

/// The memory of one ring, shared by a producer and a consumer.
#[derive(Debug, Clone)]
pub(crate) struct Ring {
    mapping: Arc<Mapping>,
    capacity: usize,
    /// Where the data begins.
    data: usize,
    /// Whether the data is mapped once only: then no frame crosses its end.
    flat: bool,
}

impl Ring {
    /// The bytes of a memfd that a ring with `capacity` bytes of data takes.
    pub(crate) fn footprint(capacity: usize) -> usize {
        control_bytes() + capacity
    }

    /// Maps the ring that starts at `offset`. `capacity` is a power of two and at least a page.
    pub(crate) fn map(memory: impl AsFd, offset: usize, capacity: usize) -> io::Result<Self> {
        if !capacity.is_power_of_two() || capacity % control_bytes() != 0 {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let mapping = Mapping::mirrored(memory, offset, control_bytes(), capacity)?;
        Ok(Self {
            mapping: Arc::new(mapping),
            capacity,
            data: control_bytes(),
            flat: false,
        })
    }

    /// A ring in private memory, without the second mapping: no frame may cross the end.
    #[cfg(miri)]
    pub(crate) fn private(capacity: usize) -> Self {
        Self {
            mapping: Arc::new(Mapping::private(Self::footprint(capacity))),
            capacity,
            data: control_bytes(),
            flat: false,
        }
    }

    /// The bytes of a memfd that each of the two rings of [`Ring::flat`] takes.
    pub(crate) fn flat_footprint(capacity: usize) -> usize {
        (FLAT_CONTROL_BYTES + capacity).next_multiple_of(rustix::param::page_size())
    }

    /// Maps two flat rings, one behind the other in `memory`: one mapping, where two rings that wrap take four.
    /// `capacity` is a power of two.
    pub(crate) fn flat(memory: impl AsFd, capacity: usize) -> io::Result<[Self; 2]> {
        if !capacity.is_power_of_two() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let half = Self::flat_footprint(capacity);
        let (first, second) = Mapping::whole(memory, 2 * half)?.split(half);
        Ok([first, second].map(|mapping| Self {
            mapping: Arc::new(mapping),
            capacity,
            data: FLAT_CONTROL_BYTES,
            flat: true,
        }))
    }

    /// The size of the ring's data, in bytes.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The number of contiguous bytes from `cursor` on, at most the capacity.
    #[inline]
    pub(super) fn reach(&self, cursor: Cursor) -> usize {
        match self.flat {
            true => self.capacity - self.within(cursor),
            false => self.capacity,
        }
    }

    #[inline]
    pub(super) fn head(&self) -> &AtomicU64 {
        self.mapping.word(HEAD)
    }

    #[inline]
    pub(super) fn tail(&self) -> &AtomicU64 {
        self.mapping.word(TAIL)
    }

    /// The number of frames that are committed and not released, for a caller that is neither side. Both sides may move
    /// meanwhile. The tail is read first, because a later head is never behind it.
    pub(crate) fn frames(&self) -> usize {
        let mut tail = self.tail().load(Ordering::Acquire);
        loop {
            let head = Cursor::from_bits(self.head().load(Ordering::Acquire));
            let again = self.tail().load(Ordering::Acquire);
            if again == tail {
                return head.frames_since(Cursor::from_bits(tail)).min(MOST_FRAMES);
            }
            tail = again;
        }
    }

    /// The consumer's position, for a caller that is neither side.
    pub(crate) fn released(&self) -> u64 {
        self.tail().load(Ordering::Acquire)
    }

    /// Whether every committed frame was released, for a caller that is neither side. Unlike the number of frames, this
    /// is also false for counters that were overwritten, which the consumer has to see.
    pub(crate) fn is_empty(&self) -> bool {
        let tail = Cursor::from_bits(self.tail().load(Ordering::Acquire));
        Cursor::from_bits(self.head().load(Ordering::Acquire)) == tail
    }

    /// A word that the ring itself does not use. It is zero until the consumer stores a value for the producer.
    pub(crate) fn note(&self) -> &AtomicU32 {
        self.mapping.half_word(NOTE)
    }

    /// Another word that the ring itself does not use. The consumer stores values for the producer.
    #[inline]
    pub(crate) fn progress(&self) -> &AtomicU64 {
        self.mapping.word(PROGRESS)
    }

    /// A third such word, of the consumer for the producer.
    pub(crate) fn mark(&self) -> &AtomicU64 {
        self.mapping.word(MARK_AT)
    }

    /// A fourth such word, of the consumer for the producer.
    pub(super) fn serves(&self) -> &AtomicU64 {
        self.mapping.word(SERVES_AT)
    }

    /// The room for [`leave_aside`](Self::leave_aside): what is left of the pages of the control words, or behind the
    /// data.
    fn aside(&self) -> Range<usize> {
        match self.flat {
            true => self.data + self.capacity..self.mapping.len(),
            false => ASIDE..self.data,
        }
    }

    /// The most bytes that can be left aside.
    pub(crate) fn room_aside(&self) -> usize {
        self.aside().len().saturating_sub(ALIGN)
    }

    /// Leaves `bytes` for the other side, beside all frames. They take the place of others that were left.
    pub(crate) fn leave_aside(&self, bytes: &[u8]) {
        let (at, len) = (self.aside().start, bytes.len().min(self.room_aside()));
        self.mapping.write(at + ALIGN, &bytes[..len]);
        self.mapping.word(at).store(len as u64, Ordering::Release);
    }

    /// The bytes that the other side has left aside.
    pub(crate) fn left_aside(&self) -> Vec<u8> {
        let at = self.aside().start;
        let len = self.mapping.word(at).load(Ordering::Acquire);
        let mut bytes = Vec::new();
        // The other process may have overwritten the word.
        if len <= self.room_aside() as u64 {
            self.mapping.read(at + ALIGN, len as usize, &mut bytes);
        }
        bytes
    }

    /// The same room as words, for a signal handler of the other side. [`leave_aside`](Self::leave_aside) is not used
    /// with them.
    pub(crate) fn words_aside(&self) -> &[AtomicU64] {
        let aside = self.aside();
        self.mapping.words(aside.start, aside.len() / 8)
    }

    /// Non-zero while the consumer sleeps or is about to.
    pub(crate) fn consumer_sleeps(&self) -> &AtomicU32 {
        self.mapping.half_word(CONSUMER_SLEEPS)
    }

    /// Non-zero while the producer sleeps for want of space, or is about to.
    pub(crate) fn producer_sleeps(&self) -> &AtomicU32 {
        self.mapping.half_word(PRODUCER_SLEEPS)
    }

    /// The offset in the mapping of the byte `offset` behind `cursor`. The `len` bytes from there are contiguous.
    #[inline]
    fn place(&self, cursor: Cursor, offset: usize, len: usize) -> usize {
        debug_assert!(offset + len <= self.reach(cursor));
        self.data + self.within(cursor) + offset
    }

    #[inline]
    fn within(&self, cursor: Cursor) -> usize {
        (cursor.byte() & (self.capacity as u64 - 1)) as usize
    }

    #[inline]
    pub(super) fn write(&self, cursor: Cursor, offset: usize, bytes: &[u8]) {
        let place = self.place(cursor, offset, bytes.len());
        self.mapping.write(place, bytes);
    }

    /// Lends `len` bytes, `offset` behind `cursor`, for writing.
    #[inline]
    pub(super) fn write_cursor(
        &self,
        cursor: Cursor,
        offset: usize,
        len: usize,
    ) -> WriteCursor<'_> {
        self.mapping
            .write_cursor(self.place(cursor, offset, len), len)
    }

    #[inline]
    pub(super) fn read(&self, cursor: Cursor, offset: usize, len: usize, out: &mut Vec<u8>) {
        let place = self.place(cursor, offset, len);
        self.mapping.read(place, len, out);
    }

    #[inline]
    pub(super) fn read_to(&self, cursor: Cursor, offset: usize, len: usize, room: &mut StackBuf) {
        let place = self.place(cursor, offset, len);
        self.mapping.copy_to(place, len, room);
    }

    /// The word `offset` behind `cursor`, which is aligned.
    #[inline]
    pub(super) fn word(&self, cursor: Cursor, offset: usize) -> &AtomicU64 {
        self.mapping.word(self.place(cursor, offset, 8))
    }
}

/// Takes the sleeper that `flag` announces. The caller has stored the counter that the sleeper waits for.
///
/// True for exactly one caller, which must wake the sleeper.
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
pub(crate) fn frame_bytes(body: usize) -> usize {
    (HEADER_BYTES + body).next_multiple_of(ALIGN)
}
