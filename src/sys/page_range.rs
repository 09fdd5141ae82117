//! Ranges of address space that show all of a memfd.
//!
//! A range of at least a huge page begins at a multiple of a huge page, so that the kernel can map huge pages as such.
//! The kernel chooses such an address by itself only where it was told to use huge pages (`shmem_get_unmapped_area` in
//! `mm/shmem.c`).
//!
//! # Safety
//!
//! A [`PageRange`] owns its addresses from `mmap` to `munmap`. What may be done with the memory behind them is said by
//! the types that have a range: `sealed_memory`, `writable_memory`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::mm::{MapFlags, ProtFlags};

/// The size of a huge page where pages have 4 KiB, in bytes. Where they are larger, so are huge pages, and the kernel
/// refuses the advice that needs this number.
pub(super) const HUGE_PAGE: usize = 2 << 20;

/// Where the last long range was that is unmapped now, or 0. The next one begins there if the addresses are still free:
/// this saves the search for aligned addresses.
static FREE_BASE: AtomicUsize = AtomicUsize::new(0);

/// What the pages of a range can be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageUse {
    Read,
    ReadWrite,
}

/// A range of address space with a memfd behind it.
#[derive(Debug)]
pub(super) struct PageRange {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the range is owned by this value alone and valid from any thread until it is dropped.
unsafe impl Send for PageRange {}
// SAFETY: a shared range gives out nothing but its address and length.
unsafe impl Sync for PageRange {}

impl PageRange {
    /// Maps the first `len` bytes of `memory`.
    pub(super) fn map(memory: BorrowedFd<'_>, len: usize, wanted: PageUse) -> io::Result<Self> {
        let is_long = len >= HUGE_PAGE;
        let hint = match is_long {
            true => FREE_BASE.swap(0, Ordering::Relaxed),
            false => 0,
        };
        let range = Self::map_near(hint, memory, len, wanted)?;
        if !is_long || range.is_aligned() {
            return Ok(range);
        }
        drop(range);
        Self::map_aligned(memory, len, wanted)
    }

    /// Maps at `hint` if those addresses are free, and elsewhere if they are not.
    fn map_near(
        hint: usize,
        memory: BorrowedFd<'_>,
        len: usize,
        wanted: PageUse,
    ) -> io::Result<Self> {
        let hint = ptr::without_provenance_mut(hint);
        let flags = MapFlags::SHARED;
        // SAFETY: a fresh range chosen by the kernel; nothing existing is replaced.
        let base = unsafe { rustix::mm::mmap(hint, len, wanted.protection(), flags, memory, 0)? };
        Ok(Self::own(base, len))
    }

    /// Reserves a range that has an aligned part, gives the rest back, and maps the memory there.
    fn map_aligned(memory: BorrowedFd<'_>, len: usize, wanted: PageUse) -> io::Result<Self> {
        let reserved = reserve(len.saturating_add(HUGE_PAGE))?;
        let skipped = reserved.base.addr().get().wrapping_neg() % HUGE_PAGE;
        let range = reserved.cut(skipped, len);
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        let base = range.base.as_ptr().cast();
        // SAFETY: replaces the reservation that `range` owns; no pointer into it exists.
        unsafe { rustix::mm::mmap(base, len, wanted.protection(), flags, memory, 0)? };
        Ok(range)
    }

    fn own(base: *mut std::ffi::c_void, len: usize) -> Self {
        Self {
            base: NonNull::new(base.cast()).unwrap_or(NonNull::dangling()),
            len,
        }
    }

    /// Keeps the `len` bytes from `skipped` on.
    fn cut(self, skipped: usize, len: usize) -> Self {
        let part = |from: usize, to: usize| {
            let base = self.base.as_ptr().wrapping_add(from);
            Self::own(base.cast(), to - from)
        };
        let kept = part(skipped, skipped + len);
        drop((part(0, skipped), part(skipped + len, self.len)));
        // Its parts own it now.
        let _ = std::mem::ManuallyDrop::new(self);
        kept
    }

    fn is_aligned(&self) -> bool {
        self.base.addr().get() % HUGE_PAGE == 0
    }

    /// The first byte.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The number of bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for PageRange {
    fn drop(&mut self) {
        if self.len == 0 {
            return;
        }
        // SAFETY: the range was mapped by this value, and borrows of it have ended.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok());
        if self.len >= HUGE_PAGE && self.is_aligned() {
            FREE_BASE.store(self.base.addr().get(), Ordering::Relaxed);
        }
    }
}

impl PageUse {
    fn protection(self) -> ProtFlags {
        match self {
            Self::Read => ProtFlags::READ,
            Self::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
        }
    }
}

/// A range of address space with nothing behind it.
fn reserve(len: usize) -> io::Result<PageRange> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a fresh range chosen by the kernel; nothing existing is replaced.
    let base =
        unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), flags)? };
    Ok(PageRange::own(base, len))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;
    use crate::sys::memory;

    #[test]
    fn long_range_begins_at_a_huge_page_and_leaves_nothing_around_it() {
        let ranges = || std::fs::read_to_string("/proc/self/maps").unwrap();
        let memory = memory::memfd("page-range-test", 3 * HUGE_PAGE).unwrap();
        for wanted in [PageUse::Read, PageUse::ReadWrite] {
            let range = PageRange::map_aligned(memory.as_fd(), 3 * HUGE_PAGE, wanted).unwrap();
            let base = range.base().addr().get();
            assert_eq!((base % HUGE_PAGE, range.len()), (0, 3 * HUGE_PAGE));
            assert!(ranges().contains(&format!("{base:x}-{:x}", base + 3 * HUGE_PAGE)));
        }
        assert!(!ranges().contains("page-range-test"));
    }
}
