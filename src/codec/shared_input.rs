//! Bytes that another process may still write, on their way into the decoder.
//!
//! What is checked and used later must not change in between. So every byte is copied once, into memory of this
//! process, before anything is read from it: a piece at a time into a [`Chunk`], or a long buffer straight into the
//! memory that its value keeps. The copy of a long buffer is the value, so it costs nothing more.
//!
//! Must stay true: no byte of the shared memory is read twice.

use std::cell::{Cell, OnceCell};

use crate::sys::hugepages;
use crate::sys::memory::SharedBytes;

/// The first piece that is copied, in bytes.
const FIRST_CHUNK: usize = 16 << 10;

/// The longest piece, in bytes. Each is twice as long as the one before.
const LONGEST_CHUNK: usize = 1 << 20;

/// A copied piece, and the pieces that were copied after it. All stay until the value is decoded, because its parts may
/// borrow from them until then.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    bytes: Vec<u8>,
    next: OnceCell<Box<Chunk>>,
}

impl Drop for Chunk {
    /// A loop, because there may be thousands.
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(mut chunk) = next {
            next = chunk.next.take();
        }
    }
}

/// What was not copied yet, and the last piece that was.
#[derive(Debug)]
pub(super) struct SharedInput<'a> {
    rest: Cell<SharedBytes<'a>>,
    last: Cell<&'a Chunk>,
}

impl<'a> SharedInput<'a> {
    /// The input `bytes`, whose pieces are kept behind `first`.
    pub(super) fn new(bytes: SharedBytes<'a>, first: &'a Chunk) -> Self {
        Self {
            rest: Cell::new(bytes),
            last: Cell::new(first),
        }
    }

    /// How many bytes were not copied.
    #[inline]
    pub(super) fn remaining(&self) -> usize {
        self.rest.get().len()
    }

    /// Copies the next piece: the bytes that were copied before and are `unread`, and as many behind them as make at
    /// least `wanted`, if there are so many. `None` if there are none, or there is no memory.
    pub(super) fn refill(&self, unread: &[u8], wanted: usize) -> Option<&'a [u8]> {
        let last = self.last.get();
        let size = last.bytes.len().saturating_mul(2);
        let size = size.clamp(FIRST_CHUNK, LONGEST_CHUNK).max(wanted);
        let more = size.saturating_sub(unread.len()).min(self.remaining());
        if more == 0 {
            return None;
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(unread.len() + more).ok()?;
        self.copy(unread, more, &mut bytes);
        let chunk = Chunk {
            bytes,
            next: OnceCell::new(),
        };
        // There is no next piece: `last` is the last.
        let chunk = last.next.get_or_init(|| Box::new(chunk));
        self.last.set(chunk);
        Some(&chunk.bytes)
    }

    /// A buffer of its own with the bytes that were copied before and are `unread`, and `more` behind them. `None` if
    /// there is no memory for it.
    pub(super) fn take_buffer(&self, unread: &[u8], more: usize) -> Option<Vec<u8>> {
        let mut buffer = hugepages::buffer(unread.len() + more)?;
        self.copy(unread, more, &mut buffer);
        Some(buffer)
    }

    fn copy(&self, unread: &[u8], more: usize, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(unread);
        let mut rest = self.rest.get();
        rest.take(more, buffer);
        self.rest.set(rest);
    }
}
