//! Writing byte strings one behind the other, short ones fast.
//!
//! A serialiser writes pieces of a few bytes. A call of `memcpy` for each piece costs more than the copy.
//!
//! # Safety
//!
//! A [`WriteCursor`] owns the right to write its range, and writes nowhere else.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;

/// The most bytes a [`StackBuf`] holds: most messages are shorter, and zeroing is not needed.
pub(crate) const STACK_BUF_BYTES: usize = 256;

/// A buffer on the stack, which is never zeroed.
#[derive(Debug)]
pub(crate) struct StackBuf {
    memory: [MaybeUninit<u8>; STACK_BUF_BYTES],
    /// The number of bytes that were written, from the first on.
    len: usize,
}

impl StackBuf {
    #[inline]
    pub(crate) fn new() -> Self {
        Self {
            memory: [const { MaybeUninit::uninit() }; STACK_BUF_BYTES],
            len: 0,
        }
    }

    /// The bytes that were written.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        let start = self.memory.as_ptr().cast();
        // SAFETY: so many bytes were written, and `len` never exceeds the memory.
        unsafe { std::slice::from_raw_parts(start, self.len) }
    }

    /// Replaces the content by the bytes that `write` writes. The buffer is empty if `write` fails.
    #[inline]
    pub(crate) fn fill<E>(
        &mut self,
        write: impl for<'w> FnOnce(WriteCursor<'w>) -> Result<WriteCursor<'w>, E>,
    ) -> Result<(), E> {
        self.len = 0;
        // SAFETY: the buffer is borrowed for as long as the cursor lives.
        let cursor = unsafe { WriteCursor::new(self.memory.as_mut_ptr().cast(), STACK_BUF_BYTES) };
        let end = cursor.end;
        let rest = write(cursor)?;
        // A cursor of another buffer says nothing about the bytes written here.
        if rest.end == end {
            self.len = STACK_BUF_BYTES - rest.room();
        }
        Ok(())
    }

    /// Replaces the content by the `len` bytes from `start` on.
    ///
    /// # Safety
    ///
    /// The bytes can be read, and do not lie in this buffer.
    #[inline]
    pub(super) unsafe fn copy_from(&mut self, start: *const u8, len: usize) {
        assert!(len <= STACK_BUF_BYTES);
        // SAFETY: the caller's promise; the length was just checked.
        unsafe { ptr::copy_nonoverlapping(start, self.memory.as_mut_ptr().cast(), len) };
        self.len = len;
    }
}

/// A position in memory that is written from its beginning on, as `std::io::BorrowedCursor`.
#[derive(Debug)]
pub(crate) struct WriteCursor<'a> {
    cursor: *mut u8,
    end: *mut u8,
    memory: PhantomData<&'a mut [u8]>,
}

/// The bytes that 64 bits take, seven bits in each.
pub(crate) const LONGEST_VARINT: usize = 10;

impl Default for WriteCursor<'_> {
    /// A cursor without memory.
    #[inline]
    fn default() -> Self {
        Self {
            cursor: ptr::null_mut(),
            end: ptr::null_mut(),
            memory: PhantomData,
        }
    }
}

impl<'a> WriteCursor<'a> {
    /// A cursor over all of `memory`.
    #[inline]
    pub(crate) fn of(memory: &'a mut [u8]) -> Self {
        // SAFETY: the memory is borrowed for as long as the cursor lives.
        unsafe { Self::new(memory.as_mut_ptr(), memory.len()) }
    }

    /// A cursor over the `len` bytes from `start` on.
    ///
    /// # Safety
    ///
    /// The bytes can be written for as long as the cursor lives. Private memory is written through this cursor alone.
    #[inline]
    pub(super) unsafe fn new(start: *mut u8, len: usize) -> Self {
        Self {
            cursor: start,
            end: start.wrapping_add(len),
            memory: PhantomData,
        }
    }

    /// Writes `bytes`. False if they do not fit; then nothing was written.
    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > self.room() {
            return false;
        }
        // SAFETY: `cursor .. end` can be written, by the promise of `new`, and is long enough; `bytes` is
        // borrowed and this memory is not lent, so the two do not overlap.
        unsafe { copy_short(bytes.as_ptr(), self.cursor, bytes.len()) };
        self.cursor = self.cursor.wrapping_add(bytes.len());
        true
    }

    /// Writes `number` as LEB128: seven bits a byte, the lowest first, all but the last byte with the eighth bit set.
    /// False if the number does not fit; then nothing was written.
    #[inline]
    pub(crate) fn put_varint(&mut self, number: u64) -> bool {
        match number {
            0..0x80 => self.put(&[number as u8]),
            _ if self.room() < LONGEST_VARINT => self.put_varint_at_the_end(number),
            _ => {
                let mut rest = number;
                let mut cursor = self.cursor;
                while rest >= 0x80 {
                    // SAFETY: ten bytes can be written, and no number has more.
                    unsafe { cursor.write(rest as u8 | 0x80) };
                    cursor = cursor.wrapping_add(1);
                    rest >>= 7;
                }
                // SAFETY: likewise.
                unsafe { cursor.write(rest as u8) };
                self.cursor = cursor.wrapping_add(1);
                true
            }
        }
    }

    #[cold]
    fn put_varint_at_the_end(&mut self, mut number: u64) -> bool {
        let before = self.cursor;
        while number >= 0x80 {
            if !self.put(&[number as u8 | 0x80]) {
                self.cursor = before;
                return false;
            }
            number >>= 7;
        }
        let whole = self.put(&[number as u8]);
        if !whole {
            self.cursor = before;
        }
        whole
    }

    /// Whether the cursor has no memory, as the default value, which is left where a cursor was taken.
    #[inline]
    pub(crate) fn has_no_memory(&self) -> bool {
        self.end.is_null()
    }

    /// The number of bytes that still fit.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.end.addr() - self.cursor.addr()
    }
}

/// Copies `len` bytes. For most pieces of a serialiser a call of `memcpy` takes longer than the copy.
///
/// # Safety
///
/// As [`ptr::copy_nonoverlapping`].
#[inline]
pub(super) unsafe fn copy_short(from: *const u8, to: *mut u8, len: usize) {
    macro_rules! both_ends {
        ($word:ty) => {{
            let last = len - size_of::<$word>();
            // SAFETY: `len` is at least the word's size, so both ends lie inside the caller's ranges.
            let head = unsafe { from.cast::<$word>().read_unaligned() };
            // SAFETY: likewise.
            let tail = unsafe { from.add(last).cast::<$word>().read_unaligned() };
            // SAFETY: likewise.
            unsafe { to.cast::<$word>().write_unaligned(head) };
            // SAFETY: likewise.
            unsafe { to.add(last).cast::<$word>().write_unaligned(tail) };
        }};
    }
    match len {
        0 => {}
        1 => both_ends!(u8),
        2..=3 => both_ends!(u16),
        4..=7 => both_ends!(u32),
        8..=16 => both_ends!(u64),
        // SAFETY: the caller's promise.
        _ => unsafe { ptr::copy_nonoverlapping(from, to, len) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_every_length_lie_one_behind_the_other() {
        let pieces: Vec<Vec<u8>> = (0..40_u8).map(|n| vec![n; usize::from(n)]).collect();
        let mut memory = [255; 790];
        let mut cursor = WriteCursor::of(&mut memory);
        assert!(pieces.iter().all(|piece| cursor.put(piece)));
        assert_eq!(cursor.room(), 10);
        assert_eq!(memory[..780], pieces.concat());
        assert_eq!(memory[780..], [255; 10]);
    }

    #[test]
    fn bytes_that_do_not_fit_add_nothing() {
        let mut memory = [0; 8];
        let mut cursor = WriteCursor::of(&mut memory);
        assert!(cursor.put(b"12345") && !cursor.put(b"6789") && cursor.put(b"678"));
        assert_eq!(&memory, b"12345678");
    }

    #[test]
    fn stack_buf_holds_the_bytes_written_last() {
        let mut buffer = StackBuf::new();
        assert_eq!(buffer.bytes(), b"");
        fn write<'w>(mut cursor: WriteCursor<'w>, bytes: &[u8]) -> Result<WriteCursor<'w>, ()> {
            cursor.put(bytes).then_some(cursor).ok_or(())
        }
        assert_eq!(buffer.fill(|cursor| write(cursor, b"12345")), Ok(()));
        assert_eq!(buffer.bytes(), b"12345");
        let full = [1; STACK_BUF_BYTES];
        assert_eq!(buffer.fill(|cursor| write(cursor, &full)), Ok(()));
        assert_eq!(buffer.bytes(), full);
        let too_long = [2; STACK_BUF_BYTES + 1];
        assert_eq!(buffer.fill(|cursor| write(cursor, &too_long)), Err(()));
        assert_eq!(buffer.bytes(), b"");
        // SAFETY: a static text.
        unsafe { buffer.copy_from(b"abc".as_ptr(), 3) };
        assert_eq!(buffer.bytes(), b"abc");
        // A cursor of another buffer does not count as written.
        assert_eq!(buffer.fill(|_| Ok::<_, ()>(WriteCursor::default())), Ok(()));
        assert_eq!(buffer.bytes(), b"");
    }

    #[test]
    fn varints_are_written_whole_or_not_at_all() {
        for bits in 0..=64 {
            let number = u64::MAX.checked_shr(64 - bits).unwrap_or(0);
            let expected = postcard::to_allocvec(&number).unwrap();
            for len in 0..=12 {
                let mut bytes = vec![0xee; len];
                let mut cursor = WriteCursor::of(&mut bytes);
                let fits = cursor.put_varint(number);
                assert_eq!(fits, expected.len() <= len);
                let written = if fits { expected.len() } else { 0 };
                assert_eq!(cursor.room(), len - written);
                assert_eq!(bytes[..written], expected[..written]);
            }
        }
    }
}
