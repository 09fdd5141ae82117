//! Notice of the end of any process that is registered at shared memory.
//!
//! A registered process has a file description of its own of the memory (see [`presence`](super::presence)). The kernel
//! tells those who watch the memory's inode when a description that could write is closed, by the process or by its
//! death (`inotify(7)`, IN_CLOSE_WRITE). The notice comes a moment before the kernel removes the description's lock
//! (`__fput` in `fs/file_table.c`), so who looks at the notice looks again a little later.
//!
//! No other process is trusted: the notice is the kernel's.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::inotify;

/// Bytes for the notices that are read at a time. Each has 16 bytes, since a watched inode is no directory.
const NOTICE_BYTES: usize = 1024;

/// How many times one call reads. A process may cause notices without end.
const MOST_READS: usize = 16;

/// A set of watched memories.
#[derive(Debug)]
pub(crate) struct CloseWatch(OwnedFd);

/// The name of a watched memory in its set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WatchName(i32);

impl CloseWatch {
    /// # Errors
    ///
    /// The process has no descriptor left, or the user has as many watchers as `fs.inotify.max_user_instances` allows.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        Ok(Self(inotify::init(flags)?))
    }

    /// Watches the memory behind `memory`.
    pub(crate) fn add(&self, memory: BorrowedFd<'_>) -> io::Result<WatchName> {
        let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
        let closes = inotify::WatchFlags::CLOSE_WRITE;
        Ok(WatchName(inotify::add_watch(&self.0, path, closes)?))
    }

    pub(crate) fn remove(&self, name: WatchName) {
        // Fails only if it was removed before.
        let _ = inotify::remove_watch(&self.0, name.0);
    }

    /// Takes the notices there are, without waiting. True if there were any.
    pub(crate) fn take_notices(&self) -> bool {
        let mut buffer = [MaybeUninit::<u8>::uninit(); NOTICE_BYTES];
        let mut take = || rustix::io::read(&self.0, &mut buffer[..]).is_ok();
        (0..MOST_READS).take_while(|_| take()).count() > 0
    }
}

impl AsFd for CloseWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::memory;
    use crate::sys::presence::Presence;
    use rustix::event::{PollFd, PollFlags, Timespec};

    fn has_notice(watch: &CloseWatch, seconds: i64) -> bool {
        let limit = Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        };
        let mut polled = [PollFd::new(watch, PollFlags::IN)];
        rustix::event::poll(&mut polled, Some(&limit)).unwrap() == 1
    }

    #[test]
    fn end_of_a_registration_is_noticed_and_nothing_else() {
        let memory = memory::memfd("watch-test", 4096).unwrap();
        let watch = CloseWatch::new().unwrap();
        let name = watch.add(memory.as_fd()).unwrap();
        let presence = Presence::register(memory.as_fd()).unwrap();
        let other = Presence::register(memory.as_fd()).unwrap();
        drop(memory.try_clone().unwrap());
        assert!(!has_notice(&watch, 0));
        drop(presence);
        assert!(has_notice(&watch, 10));
        assert!(watch.take_notices());
        assert!(!has_notice(&watch, 0));
        watch.remove(name);
        watch.take_notices();
        drop(other);
        assert!(!has_notice(&watch, 0));
    }
}
