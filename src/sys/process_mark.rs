//! Which process made a value: the application may `fork`, as a daemon does, and its copy has all its values.
//!
//! A copy has none of the application's threads, and the application's children are not its children. So it begins anew
//! ([`PerProcess`]), refuses what was made before ([`ProcessMark`]), and gives up the descriptors by which children
//! notice the end of their parent ([`LocalFd`]).
//!
//! Copies are noticed by `pthread_atfork(3)`. The forks of a fork server are made by a system call, which runs no
//! handlers: they are no copies in this sense.
//!
//! # Safety
//!
//! The handler runs in the copy of a process with several threads. It takes no lock and allocates nothing: it adds to
//! atomics and makes system calls (`signal-safety(7)`). A value of [`PerProcess`] is never freed, so references to it
//! stay valid.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::null_mut;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// How often the line from the executed process to this one was copied.
static COPIES: AtomicU32 = AtomicU32::new(0);

/// How many descriptors a word has bits for.
const WORD_BITS: usize = u64::BITS as usize;

/// The descriptors up to this number are given up in copies: as many as a process may usually have.
const MOST_FDS: usize = 65_536;

/// A bit for each descriptor of a [`LocalFd`].
static LOCAL_FDS: [AtomicU64; MOST_FDS / WORD_BITS] =
    [const { AtomicU64::new(0) }; MOST_FDS / WORD_BITS];

/// The process that made a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProcessMark(u32);

impl ProcessMark {
    /// This process.
    pub(crate) fn here() -> Self {
        notice_copies();
        Self(COPIES.load(Ordering::Relaxed))
    }

    /// Whether it is this process, and not a process that this process is a copy of.
    pub(crate) fn is_here(self) -> bool {
        self.0 == COPIES.load(Ordering::Relaxed)
    }
}

/// Whether this process is a copy, in which the threads of libraries are missing.
pub(crate) fn is_copy() -> bool {
    COPIES.load(Ordering::Relaxed) > 0
}

/// Has copies noticed from now on.
fn notice_copies() {
    static NOTICED: Once = Once::new();
    NOTICED.call_once(|| {
        // Fails only for want of memory: then copies are not noticed. SAFETY: the handler does what is allowed in the
        // copy of a process with several threads.
        unsafe { libc::pthread_atfork(None, None, Some(on_copied)) };
    });
}

/// In the copy: marks everything as another process's, and replaces the local descriptors by a closed socket. They are
/// not closed, because their numbers still have owners.
extern "C" fn on_copied() {
    COPIES.fetch_add(1, Ordering::Relaxed);
    let mut ends = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: stores two integers.
    if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) } != 0 {
        return;
    }
    let [closed, other] = ends;
    // SAFETY: it was opened above, and nothing else owns it.
    unsafe { libc::close(other) };
    for (index, word) in LOCAL_FDS.iter().enumerate() {
        let mut bits = word.load(Ordering::Relaxed);
        while bits != 0 {
            let fd = (index * WORD_BITS) as RawFd + bits.trailing_zeros() as RawFd;
            // SAFETY: takes integers. The number belongs to a `LocalFd`, which owns what is there.
            unsafe { libc::dup3(closed, fd, libc::O_CLOEXEC) };
            bits &= bits - 1;
        }
    }
    // SAFETY: it was opened above, and nothing else owns it.
    unsafe { libc::close(closed) };
}

/// A descriptor of this process alone: in a copy of this process it leads to a closed socket.
#[derive(Debug)]
pub(crate) struct LocalFd(OwnedFd);

impl LocalFd {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        notice_copies();
        if let Some((word, bit)) = place(&fd) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
        Self(fd)
    }
}

impl Drop for LocalFd {
    fn drop(&mut self) {
        // Before it is closed.
        if let Some((word, bit)) = place(&self.0) {
            word.fetch_and(!bit, Ordering::Relaxed);
        }
    }
}

fn place(fd: &OwnedFd) -> Option<(&'static AtomicU64, u64)> {
    let number = fd.as_raw_fd() as usize;
    let word = LOCAL_FDS.get(number / WORD_BITS)?;
    Some((word, 1 << (number % WORD_BITS)))
}

impl AsFd for LocalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for LocalFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// A value that each process makes for itself at its first use. A lock in it may be held, in a copy, by a thread that
/// does not exist there.
#[derive(Debug)]
pub(crate) struct PerProcess<T: 'static> {
    made: AtomicPtr<Made<T>>,
    make: fn() -> T,
}

#[derive(Debug)]
struct Made<T: 'static> {
    mark: ProcessMark,
    value: T,
    /// What an earlier process has made, so that leak checkers find it.
    _earlier: *mut Self,
}

impl<T: Send + Sync> PerProcess<T> {
    pub(crate) const fn new(make: fn() -> T) -> Self {
        Self {
            made: AtomicPtr::new(null_mut()),
            make,
        }
    }

    /// The value of this process.
    pub(crate) fn get(&'static self) -> &'static T {
        loop {
            let made = self.made.load(Ordering::Acquire);
            // SAFETY: null, or a box that is never freed.
            match unsafe { made.as_ref() } {
                Some(it) if it.mark.is_here() => return &it.value,
                _ => self.replace(made),
            }
        }
    }

    /// Makes the value of this process, unless another thread is quicker.
    fn replace(&self, earlier: *mut Made<T>) {
        let made = Box::into_raw(Box::new(Made {
            mark: ProcessMark::here(),
            value: (self.make)(),
            _earlier: earlier,
        }));
        let (published, unused) = (Ordering::AcqRel, Ordering::Relaxed);
        let exchanged = self.made.compare_exchange(earlier, made, published, unused);
        if exchanged.is_err() {
            // SAFETY: made above, and not published.
            drop(unsafe { Box::from_raw(made) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_of_a_process_is_made_once() {
        static VALUE: PerProcess<AtomicU32> = PerProcess::new(|| AtomicU32::new(0));
        VALUE.get().store(7, Ordering::Relaxed);
        assert_eq!(VALUE.get().load(Ordering::Relaxed), 7);
    }

    #[test]
    fn descriptor_is_marked_while_it_is_open() {
        let fd = LocalFd::new(crate::sys::stdio::null().unwrap());
        let (word, bit) = place(&fd.0).unwrap();
        assert_ne!(word.load(Ordering::Relaxed) & bit, 0);
    }
}
