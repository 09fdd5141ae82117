//! The writing side of a ring.

use std::borrow::Borrow;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::sys::buffer::WriteCursor;

use super::layout;
use super::layout::{Cursor, HEADER_BYTES, Ring, frame_bytes};

/// The one producer of a ring.
#[derive(Debug)]
pub(crate) struct Producer<R = Ring> {
    ring: R,
    head: Cursor,
    tail: Cursor,
    /// The bytes written of the frame that was begun.
    cursor: usize,
    /// The most bytes that frame may have.
    limit: usize,
}

impl<R: Borrow<Ring>> Producer<R> {
    /// The producer of `ring`, which has no other one.
    pub(crate) fn new(ring: R) -> Self {
        let tail = ring.borrow().tail().load(Ordering::Acquire);
        Self::take_over(ring, tail)
    }

    /// The next producer of a ring whose producers take turns under a lock. `position` is the consumer's position as
    /// the last producer knew it. It must not be more than a ring's length behind.
    #[inline]
    pub(crate) fn take_over(ring: R, position: u64) -> Self {
        let head = Cursor::from_bits(ring.borrow().head().load(Ordering::Acquire));
        Self {
            ring,
            head,
            tail: Cursor::from_bits(position),
            cursor: 0,
            limit: 0,
        }
    }

    /// The consumer's position as this side last saw it.
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.tail.to_bits()
    }

    /// The value that the consumer stored in [`Ring::note`].
    pub(crate) fn note(&self) -> u32 {
        self.ring().note().load(Ordering::Acquire)
    }

    /// The value that the consumer stored in [`Ring::progress`].
    pub(crate) fn progress(&self) -> u64 {
        self.ring().progress().load(Ordering::Acquire)
    }

    /// The value that the consumer stored in [`Ring::mark`].
    pub(crate) fn mark(&self) -> u64 {
        self.ring().mark().load(Ordering::Acquire)
    }

    /// Whether the consumer says that it takes frames.
    pub(crate) fn is_served(&self) -> bool {
        self.ring().serves().load(Ordering::Acquire) != 0
    }

    /// The bytes that the consumer has left aside.
    pub(crate) fn left_aside(&self) -> Vec<u8> {
        self.ring().left_aside()
    }

    /// Whether the consumer's position is possible. Bytes and frames are counted in one word, and must agree.
    pub(crate) fn is_possible(&self) -> bool {
        let (bytes, frames) = (
            self.head.bytes_since(self.tail),
            self.head.frames_since(self.tail),
        );
        bytes <= self.ring().capacity() as u64
            && frames as u64 * HEADER_BYTES as u64 <= bytes
            && (frames == 0) == (bytes == 0)
    }

    /// The number of frames that are committed and not released.
    pub(crate) fn frames(&mut self) -> usize {
        self.refresh();
        self.head.frames_since(self.tail)
    }

    /// Whether at least `frames` frames are committed and not released. Reads the consumer's counter, which costs a
    /// cache miss, only if the last known value does not decide.
    #[inline]
    pub(crate) fn holds(&mut self, frames: usize) -> bool {
        self.head.frames_since(self.tail) >= frames && self.frames() >= frames
    }

    /// Begins a frame with room for `body` bytes. `None` if the ring has no space for it now.
    ///
    /// The consumer sees nothing of the frame until [`Writer::commit`].
    #[inline]
    pub(crate) fn begin(&mut self, body: usize) -> Option<Writer<'_, R>> {
        self.begin_leaving(0, body)
    }

    /// Begins a frame with room for `body` bytes, if `left` bytes stay free behind it.
    #[inline]
    pub(crate) fn begin_leaving(&mut self, left: usize, body: usize) -> Option<Writer<'_, R>> {
        let wanted = frame_bytes(body) + left;
        if self.free() < wanted {
            self.refresh();
            if self.free() < wanted {
                return None;
            }
        }
        self.cursor = 0;
        self.limit = body;
        Some(Writer { producer: self })
    }

    /// The writer of the frame that was begun last and not committed.
    #[inline]
    pub(crate) fn resume(&mut self) -> Writer<'_, R> {
        Writer { producer: self }
    }

    /// The most bytes that the body of a frame could have now.
    pub(crate) fn room(&mut self) -> usize {
        self.refresh();
        self.free().saturating_sub(HEADER_BYTES)
    }

    /// The first word of the body of the oldest frame that is not released. `None` if there is no such frame.
    pub(crate) fn oldest_word(&mut self) -> Option<u64> {
        self.refresh();
        (self.head != self.tail).then(|| self.word(self.tail, 0).load(Ordering::Relaxed))
    }

    /// Whether the consumer has released the frame at `position`.
    pub(crate) fn released(&self, position: Cursor) -> bool {
        self.head.bytes_since(self.believed()) < self.head.bytes_since(position)
    }

    /// The word `offset` bytes into the body of the frame at `position`.
    #[inline]
    pub(crate) fn word(&self, position: Cursor, offset: usize) -> &AtomicU64 {
        self.ring().word(position, HEADER_BYTES + offset)
    }

    /// The length of the body of the frame at `position`, as its header says. No consumer writes the header.
    pub(crate) fn frame_len(&self, position: Cursor) -> usize {
        let header = self.ring().word(position, 0).load(Ordering::Relaxed);
        (header & u64::from(u32::MAX)) as usize
    }

    /// Whether the consumer sleeps, or is about to.
    #[inline]
    pub(crate) fn consumer_is_asleep(&self) -> bool {
        self.ring().consumer_sleeps().load(Ordering::Relaxed) != 0
    }

    /// True if the consumer slept. The caller must wake it.
    #[inline]
    pub(crate) fn take_sleeping_consumer(&self) -> bool {
        layout::take_sleeper(self.ring().consumer_sleeps())
    }

    /// The futex word of a sleeping consumer.
    pub(crate) fn consumer_word(&self) -> &AtomicU32 {
        self.ring().consumer_sleeps()
    }

    /// Announces that this side sleeps until there is space for `body` bytes. True if there is still none, so that this
    /// side may sleep.
    pub(crate) fn announce_sleep(&mut self, body: usize) -> bool {
        layout::announce_sleeper(self.ring().producer_sleeps());
        self.refresh();
        self.free() < frame_bytes(body)
    }

    /// Announces that this side waits until the consumer releases a frame. False if there is no frame to release.
    pub(crate) fn announce_watch(&mut self) -> bool {
        layout::announce_sleeper(self.ring().producer_sleeps());
        self.frames() > 0
    }

    /// The futex word of this side.
    pub(crate) fn sleep_word(&self) -> &AtomicU32 {
        self.ring().producer_sleeps()
    }

    /// Clears this side's sleep flag.
    pub(crate) fn awake(&self) {
        self.ring().producer_sleeps().store(0, Ordering::Relaxed);
    }

    #[inline]
    fn ring(&self) -> &Ring {
        self.ring.borrow()
    }

    fn free(&self) -> usize {
        let used = self.head.bytes_since(self.tail);
        let free = self.ring().capacity().saturating_sub(used as usize);
        free.min(self.ring().reach(self.head))
    }

    fn refresh(&mut self) {
        self.tail = self.believed();
    }

    /// The consumer's counter, if its value is possible, and otherwise the last possible one.
    fn believed(&self) -> Cursor {
        let tail = Cursor::from_bits(self.ring().tail().load(Ordering::Acquire));
        let possible = self.head.bytes_since(tail) <= self.head.bytes_since(self.tail);
        if possible { tail } else { self.tail }
    }
}

/// A frame being written. A frame that was dropped without [`Writer::commit`] can be resumed until another frame is
/// begun.
#[derive(Debug)]
pub(crate) struct Writer<'a, R = Ring> {
    producer: &'a mut Producer<R>,
}

impl<R: Borrow<Ring>> Writer<'_, R> {
    /// Appends `bytes`. False if they do not fit; then nothing was appended.
    #[inline]
    pub(crate) fn extend(&mut self, bytes: &[u8]) -> bool {
        let producer = &mut *self.producer;
        if bytes.len() > producer.limit - producer.cursor {
            return false;
        }
        let offset = HEADER_BYTES + producer.cursor;
        producer.ring().write(producer.head, offset, bytes);
        producer.cursor += bytes.len();
        true
    }

    /// Appends the bytes that `write` puts into the free part of the frame. Appends nothing if `write` fails.
    #[inline]
    pub(crate) fn fill<E>(
        &mut self,
        write: impl for<'w> FnOnce(WriteCursor<'w>) -> Result<WriteCursor<'w>, E>,
    ) -> Result<(), E> {
        let producer = &mut *self.producer;
        let room = producer.limit - producer.cursor;
        let offset = HEADER_BYTES + producer.cursor;
        let free = producer.ring().write_cursor(producer.head, offset, room);
        let left = write(free)?.room();
        producer.cursor = producer.limit - left.min(room);
        Ok(())
    }

    /// The number of bytes written so far.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.producer.cursor
    }

    /// The most bytes that the frame may have.
    #[inline]
    pub(crate) fn limit(&self) -> usize {
        self.producer.limit
    }

    /// Removes the bytes from `len` on.
    #[inline]
    pub(crate) fn rewind(&mut self, len: usize) {
        debug_assert!(len <= self.producer.cursor);
        self.producer.cursor = len.min(self.producer.cursor);
    }

    /// Overwrites the bytes at `offset` with `bytes`.
    #[inline]
    pub(crate) fn patch(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.producer.cursor);
        let producer = &*self.producer;
        producer
            .ring()
            .write(producer.head, HEADER_BYTES + offset, bytes);
    }

    /// Appends the bytes from `offset` on to `out`.
    #[inline]
    pub(crate) fn copy(&self, offset: usize, out: &mut Vec<u8>) {
        let producer = &*self.producer;
        let len = producer.cursor - offset;
        producer
            .ring()
            .read(producer.head, HEADER_BYTES + offset, len, out);
    }

    /// The word at `offset`, which is a multiple of eight. The word was written before.
    #[inline]
    pub(crate) fn word(&self, offset: usize) -> &AtomicU64 {
        debug_assert!(offset + 8 <= self.producer.cursor);
        self.producer.word(self.producer.head, offset)
    }

    /// Writes the frame's header without committing, so that [`super::Consumer::beyond`] finds it.
    pub(crate) fn show(&mut self, kind: u32) {
        self.write_header(kind, self.producer.limit);
    }

    /// Publishes the frame and returns its start.
    #[inline]
    pub(crate) fn commit(self, kind: u32) -> Cursor {
        let start = self.producer.head;
        let head = self.finish(kind);
        self.producer.head = head;
        self.producer.limit = 0;
        self.producer.cursor = 0;
        let word = self.producer.ring().head();
        word.store(head.to_bits(), Ordering::Release);
        start
    }

    /// Publishes the frame by a SeqCst operation. False if the consumer has ended the ring. A SeqCst load of the
    /// consumer's sleep flag needs no fence afterwards.
    #[inline]
    pub(crate) fn commit_unless_ended(self, kind: u32) -> bool {
        let start = self.producer.head;
        let head = self.finish(kind);
        let committed = self.producer.ring().head().compare_exchange(
            start.to_bits(),
            head.to_bits(),
            Ordering::SeqCst,
            Ordering::Relaxed,
        );
        if committed.is_ok() {
            self.producer.head = head;
        }
        self.producer.limit = 0;
        self.producer.cursor = 0;
        committed.is_ok()
    }

    /// Writes the header and returns the head's position after the frame.
    #[inline]
    fn finish(&self, kind: u32) -> Cursor {
        let len = self.producer.cursor;
        self.write_header(kind, len);
        self.producer.head.after(frame_bytes(len))
    }

    #[inline]
    fn write_header(&self, kind: u32, len: usize) {
        // The lengths of frames are bounded by the ring's capacity, far below 4 GiB.
        let header = (len as u64) | (u64::from(kind) << 32);
        let word = self.producer.ring().word(self.producer.head, 0);
        word.store(header, Ordering::Relaxed);
    }
}
