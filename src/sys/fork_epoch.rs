//! A number that tells a process from its forked copies.
//!
//! A copy of a process has copies of all its values, and descriptors that both share. A value that must not be used in
//! a copy keeps the epoch in which it was made. The page with the current epoch is zero in every copy
//! (`MADV_WIPEONFORK`, `madvise(2)`), however the copy was made: handlers of `pthread_atfork(3)` do not run for a raw
//! `clone`, and `getpid(2)` costs more than a lock.
//!
//! # Safety
//!
//! The page is mapped once, never unmapped, and holds one atomic word.
#![allow(unsafe_code)]

use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags};

/// The epoch of the calling process: never 0, and not the epoch of a process that it was forked from.
#[inline]
pub(crate) fn current() -> u64 {
    static PAGE: OnceLock<Option<&'static AtomicU64>> = OnceLock::new();
    match PAGE.get_or_init(page) {
        Some(epoch) => match epoch.load(Ordering::Relaxed) {
            0 => begin(epoch),
            current => current,
        },
        // A kernel that cannot wipe the page. Process numbers are used again, but not while a copy's parent lives.
        None => u64::from(std::process::id()),
    }
}

/// Begins the epoch of a process that has none.
#[cold]
fn begin(epoch: &AtomicU64) -> u64 {
    /// The last epoch of this process or of a process that it was forked from.
    static LAST: AtomicU64 = AtomicU64::new(0);
    let next = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    match epoch.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => next,
        Err(begun) => begun,
    }
}

/// Maps the page. `None` if the kernel has no memory, or cannot wipe it.
fn page() -> Option<&'static AtomicU64> {
    let len = rustix::param::page_size();
    let rights = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a fresh range chosen by the kernel; nothing existing is replaced.
    let page =
        unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, rights, MapFlags::PRIVATE) };
    let page = NonNull::new(page.ok()?)?;
    // SAFETY: the page that was just mapped, which no other code knows.
    let advised = unsafe { rustix::mm::madvise(page.as_ptr(), len, Advice::LinuxWipeOnFork) };
    // SAFETY: the page is aligned, zero, and never unmapped. A wiped page is zero again, and any value is valid.
    let epoch = unsafe { page.cast::<AtomicU64>().as_ref() };
    advised.is_ok().then_some(epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoch_is_the_same_in_all_threads() {
        let here = current();
        assert_ne!(here, 0);
        assert_eq!(std::thread::spawn(current).join().unwrap(), here);
    }

    #[test]
    fn forked_copy_has_another_epoch() {
        let here = current();
        // SAFETY: the copy calls nothing but `current`, which allocates nothing, and `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let is_new = current() != here && current() != 0;
            super::super::fork::quit(i32::from(is_new) + 7);
        }
        let mut status = 0;
        // SAFETY: waits for the copy and stores one integer.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert_eq!(libc::WEXITSTATUS(status), 8);
        assert_eq!(current(), here);
    }
}
