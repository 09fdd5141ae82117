//! A mark on an open file, by which a process tells whether a descriptor still is its own.
//!
//! The user's code may close descriptors that are not its own, and a file that it opens afterwards gets the lowest free
//! number. What is then written to a descriptor of this crate lands in that file.
//!
//! The mark is the number of the signal for events (`fcntl(2)`, `F_SETSIG`). It belongs to the open file, so all
//! processes that have the file see it. No signal is sent without `O_ASYNC`. In every other file the number is 0.
//!
//! # Safety
//!
//! Only calls that take and return integers.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, RawFd};

// `asm-generic/fcntl.h`.
pub(super) const F_SETSIG: libc::c_int = 10;
const F_GETSIG: libc::c_int = 11;

/// A real-time signal, which no library asks for.
const MARK: libc::c_int = 47;

/// Marks the open file behind `fd`.
pub(crate) fn set(fd: impl AsFd) -> io::Result<()> {
    // SAFETY: takes integers, and the descriptor is open.
    match unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), F_SETSIG, MARK) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Whether `fd` is open, and its file is marked.
pub(crate) fn is_set(fd: impl AsFd) -> bool {
    is_set_at(fd.as_fd().as_raw_fd())
}

/// As [`is_set`], for a number that may not be open.
pub(super) fn is_set_at(number: RawFd) -> bool {
    // SAFETY: takes integers; a number that is not open is an error.
    unsafe { libc::fcntl(number, F_GETSIG) == MARK }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{doorbell::Doorbell, socket};

    #[test]
    fn mark_is_seen_by_duplicates_and_by_no_other_file() {
        let (a, b) = socket::pair().unwrap();
        assert!(!is_set(&a));
        set(&a).unwrap();
        assert!(is_set(a.try_clone().unwrap()) && !is_set(&b));
        assert!(is_set(Doorbell::new().unwrap()));
        assert!(!is_set(std::fs::File::open("/dev/null").unwrap()));
        assert!(!is_set_at(i32::MAX));
    }
}
