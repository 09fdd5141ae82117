//! The other side of a channel, as the socket to it shows it.
//!
//! The kernel knows whether a process has the other side, and hangs the socket up when the last copy is closed. Asking
//! costs more than sending a message, so this file decides when to ask. Never here: what goes through the socket; see
//! `doorbell` and `fds`.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::sys::clock::Moment;
use crate::sys::socket;

/// The socket to the other side, and what is known about that side.
#[derive(Debug)]
pub(super) struct Peer {
    socket: OwnedFd,
    /// The kernel said that the other side is gone. It never comes back.
    is_gone: AtomicBool,
    /// The clock tick in which the kernel was last asked.
    asked_at: AtomicU64,
    /// How many ends of the other side were dropped at that time.
    drops_seen: AtomicU32,
}

impl Peer {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            is_gone: AtomicBool::new(false),
            asked_at: AtomicU64::new(0),
            drops_seen: AtomicU32::new(0),
        }
    }

    #[inline]
    pub(super) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Whether the kernel says that no process has the other side.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed) || socket::is_hung_up(&self.socket)
    }

    /// Notes what a failed send has told before the socket itself shows it.
    pub(super) fn set_gone(&self) {
        self.is_gone.store(true, Ordering::Relaxed);
    }

    /// Whether the other side was found gone. Asks the kernel when an end of that side was dropped, and once in a
    /// clock tick because killed processes do not count their ends. `drops` counts the dropped ends.
    #[inline]
    pub(super) fn was_found_gone(&self, drops: &AtomicU32) -> bool {
        let drops = drops.load(Ordering::Acquire);
        let now = Moment::last_tick().to_bits();
        let has_dropped = self.drops_seen.load(Ordering::Relaxed) != drops;
        let has_ticked = self.asked_at.load(Ordering::Relaxed) != now;
        if has_dropped || has_ticked {
            self.drops_seen.store(drops, Ordering::Relaxed);
            self.asked_at.store(now, Ordering::Relaxed);
            if self.is_gone() {
                self.set_gone();
            }
        }
        self.is_gone.load(Ordering::Relaxed)
    }
}
