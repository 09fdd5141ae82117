//! A child that a fork server was asked for, until somebody knows it.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::reaper;
use crate::sys::clock::Moment;
use crate::sys::reactor::Watched;
use crate::sys::socket;
use crate::transfer::control::{ControlSocket, Either};
use crate::transfer::messages::{FromChild, FromWorker, Refusal};

/// How long a server may take to answer. Far more than copying the largest process takes; one that takes longer
/// was stopped, and must not hold up those who wait.
const LONGEST_FORK: Duration = Duration::from_secs(5);

/// How many messages of a newborn may be unreadable (a full descriptor table) before it is given up.
const UNREADABLE: usize = 4;

/// A child that was forked.
#[derive(Debug)]
pub(super) struct Born {
    pub(super) pid: u32,
    /// Missing where the descriptor table was full when it came.
    pub(super) pidfd: Option<OwnedFd>,
    /// What the child sent before its fork server announced it.
    pub(super) early: Vec<(FromWorker, Vec<OwnedFd>)>,
}

/// What was said at the other end of a newborn's control socket.
#[derive(Debug)]
pub(super) enum Answer {
    Born(Born),
    Refused(Refusal),
    Gone,
    Late,
}

/// One end of the control socket of a child that may come to be.
#[derive(Debug)]
pub(super) struct PendingChild {
    control: Arc<ControlSocket>,
    heard: Watched,
}

impl PendingChild {
    /// One that is about to be asked for, and the child's end.
    pub(super) fn expected() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socket::pair()?;
        let control = Arc::new(ControlSocket::new(ours));
        let heard = Watched::new(control.as_fd().try_clone_to_owned()?)?;
        Ok((Self { control, heard }, theirs))
    }

    pub(super) fn control(&self) -> &Arc<ControlSocket> {
        &self.control
    }

    /// What became of it, which was asked for.
    ///
    /// Cancel safe: if there is a child, it is seen off.
    pub(super) async fn answer(self) -> io::Result<Answer> {
        in_time(expect(self.control, &self.heard)).await
    }
}

async fn in_time(answer: impl Future<Output = io::Result<Answer>>) -> io::Result<Answer> {
    let mut answer = std::pin::pin!(answer);
    let asked = Moment::now();
    loop {
        match tokio::time::timeout(LONGEST_FORK, &mut answer).await {
            Ok(answer) => return answer,
            // The runtime's clock may be a test's, which runs ahead.
            Err(_) if Moment::now().since(asked) < LONGEST_FORK => tokio::task::yield_now().await,
            Err(_) => return Ok(Answer::Late),
        }
    }
}

/// The duty to see a child off that may exist, until it is known.
#[derive(Debug)]
struct Expected(Option<Arc<ControlSocket>>);

impl Drop for Expected {
    fn drop(&mut self) {
        if let Some(control) = self.0.take() {
            reaper::expect(control);
        }
    }
}

async fn expect(control: Arc<ControlSocket>, heard: &Watched) -> io::Result<Answer> {
    let mut expected = Expected(Some(Arc::clone(&control)));
    let answer = async {
        let mut unreadable = 0;
        let mut alone = None;
        let mut early = Vec::new();
        loop {
            match (control.try_recv(), alone) {
                (Ok(Some((Either::Left(FromChild::Forked { pid }), fds))), _) => {
                    match fds.into_iter().next() {
                        // The child was quicker than its server, which has its descriptor.
                        None => alone = Some(pid),
                        pidfd => return Ok(Answer::Born(Born { pid, pidfd, early })),
                    }
                }
                (Ok(Some((Either::Left(FromChild::Refused(refusal)), _))), _) => {
                    return Ok(Answer::Refused(refusal));
                }
                (Ok(Some((Either::Right(message), fds))), _) => early.push((message, fds)),
                (Ok(None) | Err(_), Some(pid)) => {
                    let pidfd = None;
                    return Ok(Answer::Born(Born { pid, pidfd, early }));
                }
                (Ok(None), None) => return Ok(Answer::Gone),
                (Err(error), None) if error.kind() == io::ErrorKind::WouldBlock => {
                    heard.edge().await?;
                }
                // Its descriptor could not be taken. The child says the same without one.
                (Err(_), None) if unreadable < UNREADABLE => unreadable += 1,
                (Err(error), None) => return Err(error),
            }
        }
    };
    let answer = answer.await;
    if answer.is_ok() {
        expected.0 = None;
    }
    answer
}
