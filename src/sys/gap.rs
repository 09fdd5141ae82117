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
use std::ptr;

/// Appends to `out` what `write` puts into its spare room, at most its capacity; nothing, if it fails.
#[inline]
pub(crate) fn fill_spare<E>(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Gap<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let spare = out.spare_capacity_mut();
    let room = spare.len();
    // SAFETY: the spare capacity, borrowed for as long as the gap lives.
    let mut gap = unsafe { Gap::new(spare.as_mut_ptr().cast(), room) };
    write(&mut gap)?;
    let written = room - gap.room();
    // SAFETY: so many bytes behind the length were just written.
    unsafe { out.set_len(out.len() + written) };
    Ok(())
}

/// Memory that is written from its beginning on.
#[derive(Debug)]
pub(crate) struct Gap<'a> {
    cursor: *mut u8,
    end: *mut u8,
    memory: PhantomData<&'a mut [u8]>,
}

impl Gap<'_> {
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
        let mut out = Vec::with_capacity(1 + 780);
        out.push(255);
        let put = fill_spare(&mut out, |gap| {
            pieces
                .iter()
                .all(|piece| gap.put(piece))
                .then_some(())
                .ok_or(())
        });
        assert_eq!((put, out.len()), (Ok(()), 781));
        assert_eq!(out[1..], pieces.concat());
    }

    #[test]
    fn what_fails_or_does_not_fit_adds_nothing() {
        let mut out = Vec::with_capacity(8);
        let failed = fill_spare(&mut out, |gap| {
            match gap.put(b"12345") && gap.put(b"6789") {
                true => Ok(()),
                false => Err("full"),
            }
        });
        assert_eq!((failed, out.len()), (Err("full"), 0));
    }
}
