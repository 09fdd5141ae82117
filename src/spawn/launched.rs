//! A child that was started, and everything by which its parent reaches it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::child_guard::ChildGuard;
use super::link::{LaneLink, ParentLink, Ties};
use super::release::Release;
use crate::call::{ReplyReader, RequestWriter, Written};
use crate::sys::parent_death::ParentDeathPipe;
use crate::sys::socket;
use crate::transfer::messages::ToWorker;

/// A child that was started. Dropping it kills and reaps the child, unless the child is detached.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) requests: RequestWriter,
    pub(crate) replies: ReplyReader,
    /// The ends of the other lanes of a worker.
    pub(crate) others: Vec<LaneLink>,
    /// The result of writing the first request; `None` if it was not written yet.
    pub(crate) written: Option<Written>,
    /// Whether the child is a fork of a process that had entered, so it needs no handshake.
    pub(crate) forked: bool,
    pub(crate) guard: ChildGuard,
    pub(crate) pidfd: OwnedFd,
    pub(crate) ties: Ties,
    /// Kept open for as long as the child may live.
    pub(crate) parent_death: Arc<ParentDeathPipe>,
    /// The parent's ends of the streams that were piped, by standard slot.
    pub(crate) pipes: [Option<OwnedFd>; 3],
    release: Option<Release>,
}

impl Launched {
    pub(super) fn new(
        link: ParentLink,
        guard: ChildGuard,
        pidfd: OwnedFd,
        pipes: [Option<OwnedFd>; 3],
    ) -> Self {
        Self {
            requests: link.requests,
            replies: link.replies,
            others: link.others,
            written: link.written,
            forked: guard.is_forked(),
            parent_death: link.parent_death,
            guard,
            pidfd,
            ties: link.ties,
            pipes,
            release: link.release,
        }
    }

    /// Lets spares be forked before the release, because packing the request takes a while.
    pub(crate) fn allow_spares(&mut self) {
        if let Some(release) = &mut self.release {
            release.complete_early();
        }
    }

    /// Lets a single-task process begin.
    ///
    /// # Errors
    ///
    /// The start message or the descriptors could not be sent. A child that has already exited is not an error.
    pub(crate) fn release(&mut self) -> io::Result<()> {
        let Some(release) = self.release.take() else {
            self.requests.send(ToWorker::Ready);
            return self.requests.send_unsent();
        };
        self.requests.send_unsent()?;
        match release.send(&[]) {
            Err(error) if socket::is_end(&error) => Ok(()),
            sent => sent,
        }
    }
}
