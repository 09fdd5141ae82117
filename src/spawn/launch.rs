//! Starting a child: chooses between a fork server and executing the program.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::child_guard::ChildGuard;
use super::exec::exec;
use super::fork_request::ForkRequest;
use super::fork_server::{ForkServer, ForkedChild};
use super::launched::Launched;
use super::link::WriteFirst;
use super::pending::ChildIds;
use super::spec::{ChildSpec, StdioSpec};
use super::start_method::StartMethod;
use crate::sys::doorbell::Doorbell;
use crate::sys::{sched, signal};
use crate::threads;

/// Where children come from.
#[derive(Debug, Clone)]
pub(crate) enum ChildSource {
    /// Each executes the program.
    Exec,
    /// The fork server of the whole application.
    Shared,
    /// A fork server with a preload.
    Own(Arc<ForkServer>),
}

impl ChildSource {
    /// The source of children that need no preload.
    pub(crate) fn of(method: StartMethod) -> Self {
        match method {
            StartMethod::Exec => Self::Exec,
            StartMethod::ForkServer => Self::Shared,
        }
    }

    /// Whether a forked child finds a preload done. An executed child does not.
    pub(crate) fn has_preload(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    fn fork_server(&self) -> Option<&ForkServer> {
        match self {
            Self::Exec => None,
            Self::Shared => Some(ForkServer::shared()),
            Self::Own(server) => Some(server),
        }
    }
}

/// Starts a worker that rings `doorbell`, or without one a single-task process, on the current runtime. If the child is
/// forked, `write_first` is called before it exists, so that it does not wait for its first request.
///
/// Cancel safe: a child that was started is killed and reaped.
pub(crate) async fn launch(
    source: &ChildSource,
    spec: ChildSpec,
    streams: StdioSpec,
    doorbell: Option<&Doorbell>,
    write_first: WriteFirst<'_>,
) -> io::Result<Launched> {
    spec.check()?;
    sched::check_affinity(spec.surroundings.processors.as_deref())?;
    let can_fork = streams.is_default() && !spec.needs_exec();
    if let Some(server) = source.fork_server().filter(|_| can_fork) {
        // The fork server reports why it cannot fork, if that concerns all children.
        if let Ok(launched) = fork(server, &spec, doorbell, write_first).await? {
            return Ok(launched);
        }
    }
    let streams = StdioSpec {
        stdout: streams.stdout.or(spec.output.stdio(1)?),
        stderr: streams.stderr.or(spec.output.stdio(2)?),
        stdin: streams.stdin,
    };
    let doorbell = doorbell.map(Doorbell::try_clone).transpose()?;
    threads::run(move || exec(&spec, streams, doorbell.as_ref())).await?
}

/// Forks a child. The inner error says why no child can be forked.
async fn fork(
    server: &ForkServer,
    spec: &ChildSpec,
    doorbell: Option<&Doorbell>,
    write_first: WriteFirst<'_>,
) -> io::Result<Result<Launched, String>> {
    let request = ForkRequest::new(spec, doorbell, write_first)?;
    // Each part of a start is up to twenty system calls: other tasks run in between.
    tokio::task::yield_now().await;
    let ForkedChild { ids, link } = match server.fork(&request).await? {
        Ok(forked) => forked,
        Err(why) => return Ok(Err(why)),
    };
    let guard = ChildGuard::forked(ids.pid, spec);
    let pidfd = pidfd_of(ids)?;
    let launched = Launched::new(*link, guard, pidfd, [None, None, None]);
    tokio::task::yield_now().await;
    Ok(Ok(launched))
}

fn pidfd_of(ids: ChildIds) -> io::Result<OwnedFd> {
    if let Some(pidfd) = ids.pidfd {
        return Ok(pidfd);
    }
    match signal::pidfd(ids.pid) {
        // The child has ended, and this program ignores `SIGCHLD`, so the kernel has reaped it.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => signal::ended_pidfd(),
        opened => opened,
    }
}
