//! Preload: code that runs once in a fork server, so that all its children find it done.
//!
//! It is a request in a worker's rings, with a stop frame behind it; all of it is there before the fork server starts.
//! The fork server's only thread runs it, then reports that it can fork, or why not.

use std::fmt;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use super::greeting::fork_server_greeting;
use super::link::{ParentLink, Rings};
use super::surroundings::Surroundings;
use crate::call::job::Job;
use crate::call::outcomes::ReplyBody;
use crate::call::{ReplyReader, RequestWriter};
use crate::ring::Cursor;
use crate::sys::doorbell::Doorbell;
use crate::sys::parent_death::ParentDeathPipe;
use crate::sys::reactor::Watched;
use crate::transfer::blob::PackedBlob;
use crate::transfer::control::{ControlSocket, Either};
use crate::transfer::env_block::EnvBlock;
use crate::transfer::messages::{FromForkServer, FromWorker, ToWorker};

/// A preload, and what surrounds it.
pub(crate) struct Preload {
    /// Makes its job, and the function that gives its result afterwards.
    pub(crate) make: Box<dyn Fn() -> (Arc<dyn Job>, PreloadResult) + Send + Sync>,
    /// The environment and the directory of the children, which the fork server has too.
    pub(crate) surroundings: Surroundings,
}

/// What a new fork server came to.
#[derive(Debug)]
pub(super) enum Settled {
    /// It can fork. Its environment, if that is short.
    Fit(Option<EnvBlock>),
    /// It cannot fork; the reason.
    Unfit(String),
    /// Its preload has made it unable to fork; how.
    Spoiled(String),
    /// It ended before it could fork, and not because of its preload.
    Ended,
}

/// Gives the result of a preload; `None` if its job has no outcome.
pub(crate) type PreloadResult = Box<dyn FnOnce() -> Option<Result<(), String>> + Send>;

impl fmt::Debug for Preload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preload").finish_non_exhaustive()
    }
}

/// The request's task number, which no task has.
const PRELOAD_TASK: u64 = 0;

/// A preload that was sent to a fork server.
pub(super) struct PreloadRun {
    job: Arc<dyn Job>,
    result: PreloadResult,
    control: Arc<ControlSocket>,
    requests: RequestWriter,
    position: Cursor,
    replies: ReplyReader,
    readable: Watched,
    /// Holds the arguments that do not fit the ring.
    _packed: Option<PackedBlob>,
    /// Its end would kill the fork server during the preload.
    _parent_death: Arc<ParentDeathPipe>,
}

impl PreloadRun {
    /// Sends greeting and preload to a fork server that may not have started yet.
    pub(super) async fn begin(preload: &Preload, control: &Arc<ControlSocket>) -> io::Result<Self> {
        let (job, result) = (preload.make)();
        let rings = Rings::of_preload()?;
        let doorbell = Doorbell::new()?;
        let fds: Vec<_> = rings.descriptors(Some(&doorbell)).collect();
        control.send(&fork_server_greeting(), &fds)?;
        let ParentLink {
            mut requests,
            replies,
            parent_death,
            ..
        } = rings.into_link(control);
        let written = requests.write(PRELOAD_TASK, &*job, false);
        let sent = requests
            .complete(written, PRELOAD_TASK, &job)
            .await
            .map_err(|fault| fault.into_io("the preload"))?;
        requests.write_stop();
        control.send(&ToWorker::Ready, &[])?;
        Ok(Self {
            job,
            result,
            requests,
            position: sent.position,
            replies,
            readable: Watched::new(control.as_fd().try_clone_to_owned()?)?,
            control: Arc::clone(control),
            _packed: sent.packed,
            _parent_death: parent_death,
        })
    }

    /// Waits until it is known whether the fork server can fork, however long the preload takes.
    ///
    /// # Errors
    ///
    /// The preload failed, and how.
    pub(super) async fn end(mut self, child: &mut async_process::Child) -> io::Result<Settled> {
        let settled = self.recv_settled().await?;
        match &settled {
            Settled::Unfit(_) => return Ok(settled),
            Settled::Spoiled(why) => return Err(failed(why)),
            Settled::Ended if self.requests.claimed(self.position) == 0 => return Ok(settled),
            Settled::Fit(_) | Settled::Ended => {}
        }
        self.deliver(child.id());
        match ((self.result)(), settled) {
            (Some(Ok(())), settled) => Ok(settled),
            (Some(Err(why)), _) => Err(io::Error::other(why)),
            (None, Settled::Ended) => {
                let status = child.status().await?;
                if let Some(panic) = self.requests.fatal_panic() {
                    let (location, message) = (panic.location(), panic.message());
                    return Err(failed(&format!("it panicked at {location}: {message}")));
                }
                Err(failed(&format!("its process ended with {status}")))
            }
            (None, _) => Err(failed("it has left no result")),
        }
    }

    /// Waits until the fork server has settled or ended.
    async fn recv_settled(&mut self) -> io::Result<Settled> {
        loop {
            match self.control.try_recv() {
                Ok(Some((Either::Left(message), _))) => return Ok(settled(message)),
                // Of a result that is too large for the ring: a preload's result is a short text.
                Ok(Some((
                    Either::Right(
                        FromWorker::Ready
                        | FromWorker::Blob { .. }
                        | FromWorker::Forget { .. }
                        | FromWorker::Attachments { .. },
                    ),
                    _,
                ))) => {}
                Ok(None) => return Ok(Settled::Ended),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable.edge().await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn deliver(&mut self, pid: u32) {
        let mut bytes = Vec::new();
        match self.replies.only_outcome(&mut bytes, pid) {
            Some(ReplyBody::Frame(outcomes) | ReplyBody::Blob { outcomes, .. }) => {
                self.job.deliver(0, outcomes);
            }
            None => {}
        }
    }
}

/// What the fork server has reported.
pub(super) fn settled(message: FromForkServer) -> Settled {
    match message {
        FromForkServer::Settled(environment) => Settled::Fit(environment),
        FromForkServer::Unfit(why) => Settled::Unfit(why),
        FromForkServer::Spoiled(why) => Settled::Spoiled(why),
    }
}

fn failed(why: &str) -> io::Error {
    io::Error::other(format!("the preload: {why}"))
}

impl fmt::Debug for PreloadRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreloadRun").finish_non_exhaustive()
    }
}
