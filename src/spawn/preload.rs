//! What is run once in a fork server, so that all its children find it done.
//!
//! It is a request like a worker's, in rings like a worker's, with the word to stop behind it; all of it
//! waits there before the server is started. The server's only thread runs it and then says that it is
//! ready, or why it cannot be.

use std::fmt;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use super::launch::fork_server_greeting;
use super::link::{Ends, Rings};
use crate::call::ReplyReader;
use crate::call::job::Job;
use crate::call::outcomes::ReplyBody;
use crate::sys::doorbell::Doorbell;
use crate::sys::parent_death::ParentDeathPipe;
use crate::sys::reactor::Watched;
use crate::transfer::blob::PackedBlob;
use crate::transfer::control::{ControlSocket, Either};
use crate::transfer::env_block::EnvBlock;
use crate::transfer::messages::{FromForkServer, FromWorker, ToWorker};

/// What is run: makes the job, and what tells afterwards how it went.
pub(crate) struct Preload(pub(crate) Box<dyn Fn() -> (Arc<dyn Job>, Verdict) + Send + Sync>);

/// How a job went; `None` if it has no outcome.
pub(crate) type Verdict = Box<dyn FnOnce() -> Option<Result<(), String>> + Send>;

impl fmt::Debug for Preload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preload").finish_non_exhaustive()
    }
}

/// The number under which it is sent; no task has it.
const PRELOAD: u64 = 0;

/// A preload on its way.
pub(super) struct Preparation {
    job: Arc<dyn Job>,
    verdict: Verdict,
    control: Arc<ControlSocket>,
    replies: ReplyReader,
    heard: Watched,
    _packed: Option<PackedBlob>,
    _leash: Option<Arc<ParentDeathPipe>>,
}

impl Preparation {
    /// Sends all that the server needs.
    pub(super) async fn begin(preload: &Preload, control: &Arc<ControlSocket>) -> io::Result<Self> {
        let (job, verdict) = (preload.0)();
        let rings = Rings::new(Some(ParentDeathPipe::new()?))?;
        let bell = Doorbell::new()?;
        let fds: Vec<_> = rings.descriptors(Some(&bell)).collect();
        control.send(&fork_server_greeting(), &fds)?;
        let Ends {
            mut requests,
            replies,
            parent_death,
            ..
        } = rings.ends(control);
        let written = requests.write(PRELOAD, &*job, false);
        let sent = requests
            .complete(written, PRELOAD, &job, &Arc::default())
            .await
            .map_err(|fault| fault.into_io("the preload"))?;
        requests.write_stop();
        control.send(&ToWorker::Ready, &[])?;
        Ok(Self {
            job,
            verdict,
            replies,
            heard: Watched::new(control.as_fd().try_clone_to_owned()?)?,
            control: Arc::clone(control),
            _packed: sent.packed,
            _leash: parent_death,
        })
    }

    /// Waits until the server is prepared, and says what environment it has. Takes as long as that takes.
    ///
    /// # Errors
    ///
    /// It went wrong, and how.
    pub(super) async fn end(
        mut self,
        child: &mut async_process::Child,
    ) -> io::Result<Option<EnvBlock>> {
        let failed = |why: &str| io::Error::other(format!("the preload: {why}"));
        let environment = loop {
            match self.control.try_recv() {
                Ok(Some((Either::Left(FromForkServer::Settled(environment)), _))) => {
                    break environment;
                }
                Ok(Some((Either::Left(FromForkServer::Unfit(why)), _))) => {
                    return Err(failed(&why));
                }
                Ok(Some((
                    Either::Right(
                        FromWorker::Blob { .. }
                        | FromWorker::Forget { .. }
                        | FromWorker::Attachments { .. },
                    ),
                    _,
                ))) => {}
                Ok(None) => {
                    let status = child.status().await?;
                    return Err(failed(&format!("its process ended with {status}")));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.heard.edge().await?;
                }
                Err(error) => return Err(error),
            }
        };
        self.read(child.id());
        match (self.verdict)() {
            Some(Ok(())) => Ok(environment),
            Some(Err(why)) => Err(io::Error::other(why)),
            None => Err(failed("it has left no word of how it went")),
        }
    }

    fn read(&mut self, pid: u32) {
        let mut bytes = Vec::new();
        match self.replies.only_outcome(&mut bytes, pid) {
            Some(ReplyBody::Frame(outcomes) | ReplyBody::Blob { outcomes, .. }) => {
                self.job.deliver(0, outcomes);
            }
            None => {}
        }
    }
}

impl fmt::Debug for Preparation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preparation").finish_non_exhaustive()
    }
}
