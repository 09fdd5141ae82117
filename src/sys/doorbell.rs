//! A bell: an eventfd that is rung by writing and hardly ever read.
//!
//! The listener waits for the *edge* (`epoll(7)`, EPOLLET: every write is a new event), so hearing
//! the bell costs no system call of its own. Nobody counts rings: the counter wraps after 2^64 of
//! them, and a full counter has been heard long ago.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;

/// The ringing side of a bell.
#[derive(Debug)]
pub(crate) struct Doorbell(OwnedFd);

impl Doorbell {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(rustix::event::eventfd(0, flags)?))
    }

    /// Another handle on the same bell.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Forgets that it was rung: for a listener that does not wait for the edge.
    pub(crate) fn clear(&self) {
        // It fails if it was not rung.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }

    /// Wakes the listener, now or when it next listens.
    pub(crate) fn ring(&self) {
        // The only possible failure is a full counter, and then the bell has been rung.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Doorbell {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<Doorbell> for OwnedFd {
    fn from(bell: Doorbell) -> Self {
        bell.0
    }
}
