//! A child that a fork server was asked for, until it is known whether it exists.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::reaper;
use crate::own_runtime;
use crate::sys::clock::Moment;
use crate::sys::procfs;
use crate::sys::reactor::Watched;
use crate::sys::socket;
use crate::transfer::control::{ControlSocket, Either};
use crate::transfer::messages::{FromChild, FromWorker, Refusal};

/// How long a fork server may take to answer. Far more than forking the largest process takes: a fork server that takes
/// longer was stopped, and must not delay other requests.
const FORK_TIMEOUT: Duration = Duration::from_secs(5);

/// A forked child, unreaped.
#[derive(Debug)]
pub(super) struct ChildIds {
    pub(super) pid: u32,
    /// Missing if the descriptor table was full when it arrived.
    pub(super) pidfd: Option<OwnedFd>,
}

/// What a child sent before its fork server announced it.
pub(super) type EarlyMessages = Vec<(FromWorker, Vec<OwnedFd>)>;

/// What became of a pending child.
#[derive(Debug)]
pub(super) enum ForkAnswer {
    Forked {
        ids: ChildIds,
        early: EarlyMessages,
    },
    Refused(Refusal),
    /// The fork server ended, and no child has announced itself.
    ServerGone,
    /// The fork server did not answer in time.
    TimedOut,
}

/// The parent's end of the control socket of a child that may come to exist.
#[derive(Debug)]
pub(super) struct PendingChild {
    control: Arc<ControlSocket>,
    readable: Watched,
}

impl PendingChild {
    /// A child about to be asked for, and the child's end of its control socket.
    pub(super) fn new() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socket::pair()?;
        let control = Arc::new(ControlSocket::new(ours));
        let readable = Watched::new(control.as_fd().try_clone_to_owned()?)?;
        Ok((Self { control, readable }, theirs))
    }

    pub(super) fn control(&self) -> &Arc<ControlSocket> {
        &self.control
    }

    /// Waits until it is known whether the child exists.
    ///
    /// Cancel safe: a child that exists is killed and reaped, and so is one where this fails.
    pub(super) async fn answer(self) -> io::Result<ForkAnswer> {
        let mut guard = PendingGuard(Some(Arc::clone(&self.control)));
        let answer = in_time(read_answer(&self.control, &self.readable)).await;
        if answer
            .as_ref()
            .is_ok_and(|answer| !matches!(answer, ForkAnswer::TimedOut))
        {
            guard.0 = None;
        }
        answer
    }
}

/// Has a child killed and reaped that may exist, unless that is known.
#[derive(Debug)]
struct PendingGuard(Option<Arc<ControlSocket>>);

impl Drop for PendingGuard {
    fn drop(&mut self) {
        if let Some(control) = self.0.take() {
            reaper::reap_pending(control);
        }
    }
}

async fn in_time(answer: impl Future<Output = io::Result<ForkAnswer>>) -> io::Result<ForkAnswer> {
    let mut answer = std::pin::pin!(answer);
    let asked = Moment::now();
    loop {
        match own_runtime::timeout(FORK_TIMEOUT, &mut answer).await {
            Some(answer) => return answer,
            // The runtime's clock may be a test's, which runs ahead.
            None if Moment::now().since(asked) < FORK_TIMEOUT => tokio::task::yield_now().await,
            None => return Ok(ForkAnswer::TimedOut),
        }
    }
}

async fn read_answer(control: &ControlSocket, readable: &Watched) -> io::Result<ForkAnswer> {
    let mut announcements = Announcements::default();
    loop {
        match announcements.on_received(control.try_recv())? {
            NextRead::Now => {}
            NextRead::WhenReadable => readable.edge().await?,
            NextRead::Never(answer) => return Ok(answer),
        }
    }
}

/// How many messages about a child may be unreadable in a row (a full descriptor table) before it is given up.
const MOST_UNREADABLE: usize = 4;

/// What was received about a child so far.
#[derive(Debug, Default)]
struct Announcements {
    /// From the child's own announcement, which comes without a pidfd.
    pid: Option<u32>,
    early: EarlyMessages,
    unreadable: usize,
}

type ReceivedFromChild = io::Result<Option<(Either<FromChild, FromWorker>, Vec<OwnedFd>)>>;

/// When the next message is read.
#[derive(Debug)]
#[must_use]
enum NextRead {
    Now,
    WhenReadable,
    /// The answer is known.
    Never(ForkAnswer),
}

impl Announcements {
    fn on_received(&mut self, received: ReceivedFromChild) -> io::Result<NextRead> {
        match (received, self.pid) {
            (Ok(Some((Either::Left(FromChild::Forked { pid }), fds))), _) => {
                match fds.into_iter().next() {
                    // The child was quicker than its fork server, which has the pidfd.
                    None => self.pid = Some(pid),
                    pidfd => return self.forked(pid, pidfd),
                }
            }
            (Ok(Some((Either::Left(FromChild::Refused(refusal)), _))), _) => {
                return Ok(NextRead::Never(ForkAnswer::Refused(refusal)));
            }
            (Ok(Some((Either::Right(message), fds))), _) => self.early.push((message, fds)),
            // The child's own announcement is enough: a pidfd can be opened by its number.
            (Ok(None) | Err(_), Some(pid)) => return self.forked(pid, None),
            (Ok(None), None) => return Ok(NextRead::Never(ForkAnswer::ServerGone)),
            (Err(error), None) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(NextRead::WhenReadable);
            }
            // The pidfd could not be received. The child announces itself without one.
            (Err(_), None) if self.unreadable < MOST_UNREADABLE => self.unreadable += 1,
            (Err(error), None) => return Err(error),
        }
        Ok(NextRead::Now)
    }

    /// The child exists. A fork server that was taken over by what it preloads could name any process, which would then
    /// be killed for the child.
    fn forked(&mut self, pid: u32, pidfd: Option<OwnedFd>) -> io::Result<NextRead> {
        let is_another = |pidfd: &OwnedFd| procfs::pidfd_is_of_another(pidfd, pid);
        if pidfd.as_ref().is_some_and(is_another) {
            let why = format!("the fork server said {pid} of a process with another number");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(NextRead::Never(ForkAnswer::Forked {
            ids: ChildIds { pid, pidfd },
            early: std::mem::take(&mut self.early),
        }))
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{PidfdFlags, getpid, pidfd_open};

    use super::*;

    fn announced(pid: u32, fds: Vec<OwnedFd>) -> ReceivedFromChild {
        Ok(Some((Either::Left(FromChild::Forked { pid }), fds)))
    }

    fn would_block() -> ReceivedFromChild {
        Err(io::ErrorKind::WouldBlock.into())
    }

    #[test]
    fn announcement_of_the_fork_server_has_the_pidfd() {
        let mut announcements = Announcements::default();
        let next = announcements.on_received(would_block()).unwrap();
        assert!(matches!(next, NextRead::WhenReadable));
        let own = std::process::id();
        let next = announcements.on_received(announced(own, vec![own_pidfd()]));
        let NextRead::Never(ForkAnswer::Forked { ids, early }) = next.unwrap() else {
            panic!("the child was announced");
        };
        assert!(ids.pid == own && ids.pidfd.is_some() && early.is_empty());
    }

    fn own_pidfd() -> OwnedFd {
        pidfd_open(getpid(), PidfdFlags::empty()).unwrap()
    }

    #[test]
    fn announcement_with_the_pidfd_of_another_process_is_refused() {
        for forged in [1, std::process::id() + 1] {
            let mut announcements = Announcements::default();
            let next = announcements.on_received(announced(forged, vec![own_pidfd()]));
            assert_eq!(next.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn announcement_of_the_child_is_enough_and_its_messages_are_kept() {
        let mut announcements = Announcements::default();
        let next = announcements.on_received(announced(7, Vec::new())).unwrap();
        assert!(matches!(next, NextRead::Now));
        let message = Either::Right(FromWorker::Attachments { id: 1 });
        let next = announcements.on_received(Ok(Some((message, Vec::new()))));
        assert!(matches!(next.unwrap(), NextRead::Now));
        let next = announcements.on_received(would_block()).unwrap();
        let NextRead::Never(ForkAnswer::Forked { ids, early }) = next else {
            panic!("{next:?}");
        };
        assert!(ids.pid == 7 && ids.pidfd.is_none() && early.len() == 1);
    }

    #[test]
    fn end_of_the_socket_without_announcement_means_that_the_server_is_gone() {
        let next = Announcements::default().on_received(Ok(None)).unwrap();
        assert!(matches!(next, NextRead::Never(ForkAnswer::ServerGone)));
    }

    #[test]
    fn unreadable_messages_are_given_up_after_a_few() {
        let mut announcements = Announcements::default();
        let unreadable = || Err(io::Error::other("no descriptor is free"));
        for _ in 0..MOST_UNREADABLE {
            let next = announcements.on_received(unreadable()).unwrap();
            assert!(matches!(next, NextRead::Now));
        }
        assert!(announcements.on_received(unreadable()).is_err());
    }
}
