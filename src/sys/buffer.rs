//! Writing byte strings one behind the other, short ones fast.
//!
//! What a serialiser writes comes in pieces of a few bytes. A call of `memcpy` for each costs more than the
//! copying.
//!
//! # Safety
//!
//! A [`Gap`] owns the right to write its range, and writes nowhere else.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;

/// The bytes a [`Room`] holds at most.
pub(crate) const STACK_BUF_BYTES: usize = 256;

/// Room for a few bytes on the stack, which costs nothing to make.
#[derive(Debug)]
pub(crate) struct StackBuf {
    memory: [MaybeUninit<u8>; STACK_BUF_BYTES],
    /// How many of them, from the first on, were written.
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

    /// What is in it.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        let start = self.memory.as_ptr().cast();
        // SAFETY: so many bytes were written, and `len` never exceeds the memory.
        unsafe { std::slice::from_raw_parts(start, self.len) }
    }

    /// Fills it with what `write` writes, in place of what was in it; nothing, if it fails.
    #[inline]
    pub(crate) fn fill<E>(
        &mut self,
        write: impl for<'w> FnOnce(WriteCursor<'w>) -> Result<WriteCursor<'w>, E>,
    ) -> Result<(), E> {
        self.len = 0;
        // SAFETY: it is borrowed for as long as the gap lives.
        let gap = unsafe { WriteCursor::new(self.memory.as_mut_ptr().cast(), STACK_BUF_BYTES) };
        let end = gap.end;
        let rest = write(gap)?;
        // Another gap than the one that was lent says nothing of how far that was written.
        if rest.end == end {
            self.len = STACK_BUF_BYTES - rest.room();
        }
        Ok(())
    }

    /// Fills it with `len` bytes from `start` on, in place of what was in it.
    ///
    /// # Safety
    ///
    /// They can be read, and are not in this room.
    #[inline]
    pub(super) unsafe fn copy_from(&mut self, start: *const u8, len: usize) {
        assert!(len <= STACK_BUF_BYTES);
        // SAFETY: the caller's promise, and there is room for them.
        unsafe { ptr::copy_nonoverlapping(start, self.memory.as_mut_ptr().cast(), len) };
        self.len = len;
    }
}

/// Memory that is written from its beginning on.
#[derive(Debug)]
pub(crate) struct WriteCursor<'a> {
    cursor: *mut u8,
    end: *mut u8,
    memory: PhantomData<&'a mut [u8]>,
}

/// As many bytes as 64 bits take, seven in each.
const LONGEST_VARINT: usize = 10;

impl Default for WriteCursor<'_> {
    /// Nowhere, and without room.
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
    /// All of `room`.
    #[cfg(test)]
    pub(crate) fn of(room: &'a mut [u8]) -> Self {
        // SAFETY: it is borrowed for as long as the gap lives.
        unsafe { Self::new(room.as_mut_ptr(), room.len()) }
    }

    /// The `len` bytes from `start` on.
    ///
    /// # Safety
    ///
    /// They can be written, through this alone or as shared memory is, for as long as the gap lives.
    #[inline]
    pub(super) unsafe fn new(start: *mut u8, len: usize) -> Self {
        Self {
            cursor: start,
            end: start.wrapping_add(len),
            memory: PhantomData,
        }
    }

    /// Writes `bytes`, or says that they do not fit; then nothing was written.
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

    /// Writes `number` in seven bits a byte, the lowest first, all but the last with the eighth bit set (LEB128);
    /// or says that it does not fit.
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

    /// Whether it is nobody's: what is left where a gap was taken.
    #[inline]
    pub(crate) fn is_nowhere(&self) -> bool {
        self.end.is_null()
    }

    /// How many more bytes fit.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.end.addr() - self.cursor.addr()
    }
}

/// Copies `len` bytes. Most pieces a serialiser writes are shorter than the call of `memcpy` is long.
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
        let mut room = [255; 790];
        let mut gap = WriteCursor::of(&mut room);
        assert!(pieces.iter().all(|piece| gap.put(piece)));
        assert_eq!(gap.room(), 10);
        assert_eq!(room[..780], pieces.concat());
        assert_eq!(room[780..], [255; 10]);
    }

    #[test]
    fn what_does_not_fit_adds_nothing() {
        let mut room = [0; 8];
        let mut gap = WriteCursor::of(&mut room);
        assert!(gap.put(b"12345") && !gap.put(b"6789") && gap.put(b"678"));
        assert_eq!(&room, b"12345678");
    }

    #[test]
    fn a_room_holds_what_was_written_last() {
        let mut room = StackBuf::new();
        assert_eq!(room.bytes(), b"");
        fn write<'w>(mut gap: WriteCursor<'w>, bytes: &[u8]) -> Result<WriteCursor<'w>, ()> {
            gap.put(bytes).then_some(gap).ok_or(())
        }
        assert_eq!(room.fill(|gap| write(gap, b"12345")), Ok(()));
        assert_eq!(room.bytes(), b"12345");
        assert_eq!(room.fill(|gap| write(gap, &[1; STACK_BUF_BYTES])), Ok(()));
        assert_eq!(room.bytes(), [1; STACK_BUF_BYTES]);
        assert_eq!(
            room.fill(|gap| write(gap, &[2; STACK_BUF_BYTES + 1])),
            Err(())
        );
        assert_eq!(room.bytes(), b"");
        // SAFETY: a static text.
        unsafe { room.copy_from(b"abc".as_ptr(), 3) };
        assert_eq!(room.bytes(), b"abc");
        // Somebody else's gap is no reason to believe that anything was written.
        assert_eq!(room.fill(|_| Ok::<_, ()>(WriteCursor::default())), Ok(()));
        assert_eq!(room.bytes(), b"");
    }

    #[test]
    fn numbers_take_what_they_need_and_are_whole_or_not_there() {
        for bits in 0..=64 {
            let number = u64::MAX.checked_shr(64 - bits).unwrap_or(0);
            let expected = postcard::to_allocvec(&number).unwrap();
            for room in 0..=12 {
                let mut bytes = vec![0xee; room];
                let mut gap = WriteCursor::of(&mut bytes);
                let fits = gap.put_varint(number);
                assert_eq!(fits, expected.len() <= room);
                let written = if fits { expected.len() } else { 0 };
                assert_eq!(gap.room(), room - written);
                assert_eq!(bytes[..written], expected[..written]);
            }
        }
    }
}
