//! Long buffers in huge pages.
//!
//! The kernel gives fresh memory a page at a time and zeroes each page at its first touch. For 64 MiB this takes five
//! times as long as a copy. With huge pages of 2 MiB it does not (`madvise(2)`, MADV_HUGEPAGE).
//!
//! # Safety
//!
//! The advice does not change the content of memory. It is given for memory that this module has just allocated.
#![allow(unsafe_code)]

use rustix::mm::Advice;

/// Copies of fewer bytes gain nothing: an unaligned range of two huge pages contains at least one whole one.
const SHORTEST_COPY: usize = 4 << 20;

/// An empty buffer for `len` bytes, in huge pages if it gains from them. `None` if there is no memory for it.
pub(crate) fn buffer(len: usize) -> Option<Vec<u8>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(len).ok()?;
    if len >= SHORTEST_COPY && cfg!(not(miri)) {
        advise(&mut buffer);
    }
    Some(buffer)
}

/// Asks for huge pages for a buffer's whole pages.
fn advise(buffer: &mut Vec<u8>) {
    let page = rustix::param::page_size();
    let room = buffer.spare_capacity_mut();
    let skipped = room.as_ptr().align_offset(page).min(room.len());
    let pages = &mut room[skipped..];
    let len = pages.len() / page * page;
    // SAFETY: the range lies inside `buffer`, which is borrowed, and starts at a page. If the kernel refuses the
    // advice, the pages are small, as they would be without it.
    let _ = unsafe { rustix::mm::madvise(pages.as_mut_ptr().cast(), len, Advice::LinuxHugepage) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffer_holds_what_was_asked_for_and_impossible_lengths_are_refused() {
        for len in [0, 1, SHORTEST_COPY + 4099] {
            let mut buffer = buffer(len).unwrap();
            assert!(buffer.capacity() >= len);
            buffer.resize(len, 7);
        }
        assert!(buffer(usize::MAX).is_none());
        assert!(buffer(isize::MAX as usize).is_none());
    }
}
