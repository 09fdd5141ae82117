//! Long buffers in huge pages.
//!
//! Fresh memory comes from the kernel a page at a time, each zeroed at the first touch: for a copy of 64 MiB that
//! takes five times as long as the copying. In huge pages of 2 MiB it does not (`madvise(2)`, MADV_HUGEPAGE).
//!
//! # Safety
//!
//! The advice changes nothing about what is in memory; it is given for memory that this module has just
//! allocated.
#![allow(unsafe_code)]

use rustix::mm::Advice;

/// Copies shorter than this gain nothing, in bytes: two huge pages contain at least one whole one.
const LONG: usize = 4 << 20;

/// A copy of `bytes` if they are long enough for it to matter where it lies. `None` too if there is no memory:
/// whoever copies in the ordinary way fails in the ordinary way.
pub(crate) fn copy(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() < LONG {
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
    // SAFETY: the range lies inside `buffer`, which is borrowed, and starts at a page. Where the advice is refused
    // the pages are small, as without it.
    let _ = unsafe { rustix::mm::madvise(pages.as_mut_ptr().cast(), len, Advice::LinuxHugepage) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_copy_is_the_same_bytes_and_a_short_one_is_left_to_others() {
        let bytes: Vec<u8> = (0..LONG + 4099).map(|n| (n % 251) as u8).collect();
        assert_eq!(copy(&bytes).unwrap(), bytes);
        assert_eq!(copy(&bytes[..LONG - 1]), None);
    }
}
