//! The reading side of a ring.

use std::borrow::Borrow;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::layout;
use super::layout::{Cursor, ENDED, HEADER_BYTES, Ring, frame_bytes};
use crate::sys::buffer::StackBuf;

/// The producer's counter or a frame's length is impossible: the shared memory was overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Corrupt;

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the other process has overwritten the memory shared with it")
    }
}

impl std::error::Error for Corrupt {}

/// A committed frame. It stays where it is until it is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    start: Cursor,
    len: usize,
    kind: u32,
}

impl Frame {
    /// The kind that the producer gave the frame.
    pub(crate) fn kind(self) -> u32 {
        self.kind
    }

    /// Its number in the ring.
    #[inline]
    pub(crate) fn number(self) -> u64 {
        self.start.number()
    }

    /// The number of bytes of its body.
    pub(crate) fn len(self) -> usize {
        self.len
    }
}

/// The one consumer of a ring.
#[derive(Debug)]
pub(crate) struct Consumer<R = Ring> {
    ring: R,
    head: Cursor,
    tail: Cursor,
}

impl<R: Borrow<Ring>> Consumer<R> {
    /// The consumer of `ring`, which has no other one.
    pub(crate) fn new(ring: R) -> Self {
        let tail = ring.borrow().tail().load(Ordering::Acquire);
        Self::take_over(ring, tail)
    }

    /// The next consumer of a ring whose consumers take turns under a lock. `limit` is the producer's position as the
    /// last consumer knew it.
    #[inline]
    pub(crate) fn take_over(ring: R, limit: u64) -> Self {
        let tail = Cursor::from_bits(ring.borrow().tail().load(Ordering::Acquire));
        let head = Cursor::from_bits(limit);
        let possible = head.bytes_since(tail) <= ring.borrow().capacity() as u64;
        Self {
            ring,
            head: if possible { head } else { tail },
            tail,
        }
    }

    /// The consumer's own position.
    pub(crate) fn position(&self) -> u64 {
        self.tail.to_bits()
    }

    /// The producer's position as this side last saw it.
    #[inline]
    pub(crate) fn limit(&self) -> u64 {
        self.head.to_bits()
    }

    /// The oldest frame that is committed and not released, if there is one.
    #[inline]
    pub(crate) fn peek(&mut self) -> Result<Option<Frame>, Corrupt> {
        if self.head == self.tail {
            self.refresh()?;
            if self.head == self.tail {
                return Ok(None);
            }
        }
        let frame = self.frame_at(self.tail);
        let most = self
            .head
            .bytes_since(self.tail)
            .min(self.ring().reach(self.tail) as u64);
        // Bytes and frames are counted in one word, and must agree: bytes without a frame would never become one.
        let has_frame = self.head.frames_since(self.tail) > 0;
        if !has_frame || frame_bytes(frame.len) as u64 > most {
            return Err(Corrupt);
        }
        Ok(Some(frame))
    }

    /// The frame that the producer was writing behind the last committed one, if its header is possible.
    ///
    /// For salvage after the producer's death: every word of the frame may be stale or torn.
    pub(crate) fn beyond(&mut self) -> Option<Frame> {
        self.refresh().ok()?;
        let used = self.head.bytes_since(self.tail);
        let frame = self.frame_at(self.head);
        let free = self.ring().capacity() as u64 - used;
        let fits = frame_bytes(frame.len) as u64 <= free.min(self.ring().reach(self.head) as u64);
        fits.then_some(frame)
    }

    /// Appends the `len` bytes at `offset` of the frame's body to `out`. They must lie inside the body.
    #[inline]
    pub(crate) fn copy(&self, frame: Frame, offset: usize, len: usize, out: &mut Vec<u8>) {
        assert!(offset <= frame.len && len <= frame.len - offset);
        self.ring()
            .read(frame.start, HEADER_BYTES + offset, len, out);
    }

    /// Fills `buffer` with the frame's body, which must fit.
    #[inline]
    pub(crate) fn copy_to(&self, frame: Frame, buffer: &mut StackBuf) {
        self.ring()
            .read_to(frame.start, HEADER_BYTES, frame.len, buffer);
    }

    /// The word at `offset` of the frame's body. It must lie inside the body.
    #[inline]
    pub(crate) fn word(&self, frame: Frame, offset: usize) -> &AtomicU64 {
        assert!(offset <= frame.len && frame.len - offset >= 8);
        self.ring().word(frame.start, HEADER_BYTES + offset)
    }

    /// Says that this side takes frames.
    pub(crate) fn announce_service(&self) {
        self.ring().serves().store(1, Ordering::Release);
    }

    /// Erases what was stored in [`Ring::progress`].
    #[inline]
    pub(crate) fn clear_progress(&self) {
        self.ring().progress().store(0, Ordering::Relaxed);
    }

    /// Gives the frame's space back. Frames are released in order.
    #[inline]
    pub(crate) fn release(&mut self, frame: Frame) {
        debug_assert_eq!(frame.start, self.tail);
        self.tail = frame.start.after(frame_bytes(frame.len));
        let word = self.ring().tail();
        word.store(self.tail.to_bits(), Ordering::Release);
    }

    /// Gives the frame's space back by a SeqCst operation. A SeqCst load of the producer's sleep flag needs no fence
    /// afterwards.
    #[inline]
    pub(crate) fn release_loudly(&mut self, frame: Frame) {
        debug_assert_eq!(frame.start, self.tail);
        self.tail = frame.start.after(frame_bytes(frame.len));
        let word = self.ring().tail();
        word.swap(self.tail.to_bits(), Ordering::SeqCst);
    }

    /// Ends the ring, if it is empty: later calls of `commit_unless_ended` fail. False if the ring has a frame.
    pub(crate) fn end(&self) -> bool {
        let (empty, ended) = (self.tail.to_bits(), self.tail.to_bits() | ENDED);
        let head = self.ring().head();
        let there = head.compare_exchange(empty, ended, Ordering::SeqCst, Ordering::Acquire);
        there.is_ok() || there == Err(ended)
    }

    /// True if the producer slept for want of space. The caller must wake it.
    pub(crate) fn take_sleeping_producer(&self) -> bool {
        layout::take_sleeper(self.ring().producer_sleeps())
    }

    /// The futex word of a sleeping producer.
    pub(crate) fn producer_word(&self) -> &AtomicU32 {
        self.ring().producer_sleeps()
    }

    /// Announces that this side sleeps. True if the ring is still empty, so that this side may sleep.
    pub(crate) fn announce_sleep(&mut self) -> bool {
        layout::announce_sleeper(self.ring().consumer_sleeps());
        self.is_empty()
    }

    /// Clears this side's sleep flag.
    pub(crate) fn awake(&self) {
        self.ring().consumer_sleeps().store(0, Ordering::Relaxed);
    }

    /// Whether every committed frame was released.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        Cursor::from_bits(self.ring().head().load(Ordering::Acquire)) == self.tail
    }

    /// The futex word of this side.
    pub(crate) fn sleep_word(&self) -> &AtomicU32 {
        self.ring().consumer_sleeps()
    }

    #[inline]
    fn ring(&self) -> &Ring {
        self.ring.borrow()
    }

    fn refresh(&mut self) -> Result<(), Corrupt> {
        let head = Cursor::from_bits(self.ring().head().load(Ordering::Acquire));
        let used = head.bytes_since(self.tail);
        if used < self.head.bytes_since(self.tail) || used > self.ring().capacity() as u64 {
            return Err(Corrupt);
        }
        self.head = head;
        Ok(())
    }

    fn frame_at(&self, start: Cursor) -> Frame {
        let header = self.ring().word(start, 0).load(Ordering::Relaxed);
        Frame {
            start,
            len: (header & u64::from(u32::MAX)) as usize,
            kind: (header >> 32) as u32,
        }
    }
}
