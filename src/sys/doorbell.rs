//! A doorbell: an eventfd that is rung by a write and hardly ever read.
//!
//! The listener waits for the *edge* (`epoll(7)`, EPOLLET: every write is a new event), so it needs no read. The value of
//! the counter does not matter: 2^64 - 1 rings would fill it, and a full counter is readable, so the listener is awake.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, Timespec, epoll};

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

    /// Whether the descriptor is still that of a doorbell. The user's code may have closed it, and a file of its own may
    /// have the number since.
    pub(crate) fn is_intact(&self) -> bool {
        mark::is_set(&self.0)
    }

    /// Wakes the listener, now or when it next listens.
    pub(crate) fn ring(&self) {
        // The only possible failure is a full counter, which is a doorbell that was rung.
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

/// Doorbells that are listened to together, each of which another process rings. The set itself is a descriptor with an
/// edge for every ring of any of them.
///
/// A process that fills the counter of its doorbell silences its own and no other. Nothing has to be read from the set:
/// a ring wakes those who wait for an `epoll` instance also if the doorbell is in its list already (`ep_poll_callback` in
/// `fs/eventpoll.c`). A doorbell leaves the set when its last descriptor, in any process, is closed.
#[derive(Debug)]
pub(crate) struct DoorbellSet(OwnedFd);

impl DoorbellSet {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// A new doorbell in the set, with a name for [`DoorbellSet::take_rung`].
    pub(crate) fn add(&self, name: u64) -> io::Result<Doorbell> {
        let doorbell = Doorbell::new()?;
        let edges = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&self.0, &doorbell, epoll::EventData::new_u64(name), edges)?;
        Ok(doorbell)
    }

    /// The names of up to `N` doorbells that were rung since they were last named here.
    pub(crate) fn take_rung<const N: usize>(&self) -> impl Iterator<Item = u64> + use<N> {
        let empty = epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        };
        let mut events = [empty; N];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let count = epoll::wait(&self.0, &mut events[..], Some(&now)).unwrap_or(0);
        events.into_iter().take(count).map(|it| it.data.u64())
    }

    /// Another handle on the same set.
    pub(crate) fn try_clone(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_doorbell_silences_no_other() {
        let set = DoorbellSet::new().unwrap();
        let (first, second) = (set.add(1).unwrap(), set.add(2).unwrap());
        let full = (u64::MAX - 1).to_ne_bytes();
        rustix::io::write(&first, &full).unwrap();
        first.ring();
        assert_eq!(set.take_rung::<4>().collect::<Vec<_>>(), [1]);
        second.ring();
        assert_eq!(set.take_rung::<4>().collect::<Vec<_>>(), [2]);
        assert_eq!(set.take_rung::<4>().count(), 0);
    }

    #[test]
    fn doorbell_leaves_the_set_with_its_last_descriptor() {
        let set = DoorbellSet::new().unwrap();
        let bell = set.add(1).unwrap();
        let elsewhere = bell.try_clone().unwrap();
        drop(bell);
        elsewhere.ring();
        assert_eq!(set.take_rung::<4>().collect::<Vec<_>>(), [1]);
        elsewhere.ring();
        drop(elsewhere);
        assert_eq!(set.take_rung::<4>().count(), 0);
    }
}
