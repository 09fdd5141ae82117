//! A doorbell: an eventfd that is rung by a write and hardly ever read.
//!
//! The listener waits for the *edge* (`epoll(7)`, EPOLLET: every write is a new event), so it needs no read. The value
//! of the counter does not matter: 2^64 - 1 rings would fill it, and a full counter is readable, so the listener is
//! awake.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;

use super::mark;

/// The ringing side of a doorbell.
#[derive(Debug)]
pub(crate) struct Doorbell(OwnedFd);

impl Doorbell {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let bell = rustix::event::eventfd(0, flags)?;
        mark::set(&bell)?;
        Ok(Self(bell))
    }

    /// Another handle on the same doorbell.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Resets the counter, for a listener that waits for the level and not for the edge.
    pub(crate) fn clear(&self) {
        // Fails if the doorbell was not rung.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }

    /// Whether the descriptor is still that of a doorbell. The user's code may have closed it, and a file of its own
    /// may have the number since.
    pub(crate) fn is_intact(&self) -> bool {
        mark::is_set(&self.0)
    }

    /// Wakes the listener, now or when it next listens.
    pub(crate) fn ring(&self) {
        // The only possible failure is a full counter, which is a doorbell that was rung.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// As [`Doorbell::ring`], for a doorbell that other processes can fill: a full counter gives no edge.
    pub(crate) fn ring_though_full(&self) {
        let is_full = rustix::io::write(&self.0, &1_u64.to_ne_bytes()).is_err();
        if is_full {
            self.clear();
            self.ring();
        }
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
