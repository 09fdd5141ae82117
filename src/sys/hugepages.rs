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

/// A copy of `bytes` in huge pages. `None` if `bytes` are too short to gain from it, or if there is no memory: then the
/// caller makes an ordinary copy.
pub(crate) fn copy(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() < SHORTEST_COPY {
        return None;
    }
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len()).ok()?;
    if cfg!(not(miri)) {
        advise(&mut copy);
    }
    copy.extend_from_slice(bytes);
    Some(copy)
}

/// Asks for huge pages for a buffer's whole pages.
fn advise(buffer: &mut Vec<u8>) {
    let page = rustix::param::page_size();
    let room = buffer.spare_capacity_mut();
    let skipped = room.as_ptr().align_offset(page).min(room.len());
    let pages = &mut room[skipped..];
    let len = pages.len() / page * page;
    // SAFETY: the range lies inside `buffer`, which is borrowed, and starts at a page. If the kernel refuses the advice,
    // the pages are small, as they would be without it.
    let _ = unsafe { rustix::mm::madvise(pages.as_mut_ptr().cast(), len, Advice::LinuxHugepage) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_of_long_bytes_is_equal_and_short_bytes_are_not_copied() {
        let bytes: Vec<u8> = (0..SHORTEST_COPY + 4099).map(|n| (n % 251) as u8).collect();
        assert_eq!(copy(&bytes).unwrap(), bytes);
        assert_eq!(copy(&bytes[..SHORTEST_COPY - 1]), None);
    }
}
