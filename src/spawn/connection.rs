//! The application's side of one running fork server.
//!
//! A fork request is one message that carries the child's end of a new control socket. The fork server answers *there*,
//! and so does the child, so answers need no numbers. The end of that socket means both: the fork server was killed
//! before it forked, or the child before it announced itself.
//!
//! The fork server is a child of the application and the parent of no process: its forks are the application's
//! children, and outlive it.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::exec::exec_fork_server;
use super::fork_request::ForkRequest;
use super::greeting::fork_server_greeting;
use super::link::{ParentLink, Rings};
use super::pending::{ChildIds, ForkAnswer, PendingChild};
use super::preload::{Preload, PreloadRun, Settled, settled};
use super::spare::{DemandGuard, Spare, SparePool};
use super::spec::ChildSpec;
use crate::sys::parent_death::ParentDeathPipe;
use crate::sys::process_mark::LocalFd;
use crate::sys::rights::Rights;
use crate::sys::{signal, socket, stdio};
use crate::threads;
use crate::transfer::control::ControlSocket;
use crate::transfer::entry_point::{ENTRY_TIMEOUT, NEVER_ENTERED};
use crate::transfer::env_block::EnvBlock;
use crate::transfer::messages::ToForkServer;

/// A fork server that can fork. Dropping it ends the fork server.
#[derive(Debug)]
pub(super) struct Connection {
    control: Arc<ControlSocket>,
    pidfd: LocalFd,
    /// The rights of the fork server and its children.
    rights: Rights,
    /// The environment of the fork server; `None` if it is long.
    environment: Option<EnvBlock>,
    spares: Arc<SparePool>,
    /// Shared by most of its children: a pipe is not made for each.
    _parent_death: Arc<ParentDeathPipe>,
}

/// What became of a new fork server.
#[derive(Debug)]
pub(super) enum Opened {
    Fit(Arc<Connection>),
    /// None can ever fork in this program; the reason.
    Unfit(String),
    /// It ended before it could fork.
    Ended,
}

impl Connection {
    /// Executes a fork server and waits until it can fork, or until it is known that it cannot.
    ///
    /// Cancel safe: the fork server ends.
    pub(super) async fn open(preload: Option<&Preload>) -> io::Result<Opened> {
        let (ours, theirs) = socket::pair()?;
        let control = Arc::new(ControlSocket::new(ours));
        let surroundings = preload.map(|preload| preload.surroundings.clone());
        let spec = ChildSpec {
            surroundings: surroundings.unwrap_or_default(),
            ..ChildSpec::default()
        };
        let preload = greet(preload, &control).await?;
        let waiting = preload.is_none().then(|| Arc::clone(&control));
        let opened = threads::run(move || execute(theirs, &spec, waiting.as_deref()));
        let (rights, mut child, mut settled) = opened.await??;
        if let Some(preload) = preload {
            settled = preload.end(&mut child).await?;
        }
        let environment = match settled {
            Settled::Fit(environment) => environment,
            Settled::Unfit(why) | Settled::Spoiled(why) => return Ok(Opened::Unfit(why)),
            Settled::Ended => return Ok(Opened::Ended),
        };
        let pidfd = LocalFd::new(signal::pidfd(child.id())?);
        // async-process reaps it in the background, whenever it ends.
        drop(child);
        let parent_death = ParentDeathPipe::of_this_process()?;
        Ok(Opened::Fit(Arc::new_cyclic(|connection| Self {
            control,
            pidfd,
            rights,
            environment,
            spares: Arc::new(spare_pool(Weak::clone(connection))),
            _parent_death: parent_death,
        })))
    }

    /// Whether the application still has the rights that the fork server was started with. Children must not have
    /// rights that the application has given up.
    pub(super) fn has_current_rights(&self) -> bool {
        self.rights == Rights::now()
    }

    /// Counts a request for a child, until the guard is dropped.
    pub(super) fn begin_demand(&self) -> DemandGuard {
        self.spares.begin_demand()
    }

    /// Turns a spare into the child, if a spare waits and can become it.
    pub(super) fn convert_spare(
        &self,
        demand: &DemandGuard,
        request: &ForkRequest<'_>,
    ) -> io::Result<Option<(ChildIds, ParentLink)>> {
        if !request.fits_spare() {
            return Ok(None);
        }
        match demand.take_spare() {
            Some(spare) => spare.convert(request, self.environment.as_ref()),
            None => Ok(None),
        }
    }

    /// Asks the fork server for the child, and waits for the answer. `child_end` is of the child's control socket.
    pub(super) async fn fork(
        &self,
        request: &ForkRequest<'_>,
        pending: PendingChild,
        child_end: OwnedFd,
    ) -> io::Result<ForkAnswer> {
        let sent = request.send(&self.control, &child_end, self.environment.as_ref());
        drop(child_end);
        match sent {
            Ok(()) => pending.answer().await,
            Err(error) if socket::is_end(&error) => Ok(ForkAnswer::ServerGone),
            Err(error) => Err(error),
        }
    }

    /// Kills the fork server. Its other requests are answered by their sockets' ends.
    pub(super) fn kill(&self) -> io::Result<()> {
        signal::kill_pidfd(&self.pidfd)
    }

    /// Forks a spare; `None` if that is not possible now.
    async fn fork_spare(&self) -> io::Result<Option<Spare>> {
        let (pending, child_end) = PendingChild::new()?;
        let control = Arc::clone(pending.control());
        let rings = Rings::of_single()?;
        let mut fds: Vec<_> = rings.descriptors(None).collect();
        fds.push(child_end.as_fd());
        self.control.send(&ToForkServer::Spare, &fds)?;
        drop(child_end);
        let link = rings.into_link(&control);
        // A spare sends nothing before its release.
        let ForkAnswer::Forked { ids, early: _ } = pending.answer().await? else {
            return Ok(None);
        };
        // A standard stream was closed meanwhile. Its slot will be filled again, and the pidfd lies there.
        let is_in_the_way = ids.pidfd.as_ref().is_some_and(stdio::is_at_standard_slot);
        let spare = Spare::new(control, ids, link);
        Ok((!is_in_the_way).then_some(spare))
    }
}

/// Greets a fork server that may not have started yet, and sends its preload if there is one.
async fn greet(
    preload: Option<&Preload>,
    control: &Arc<ControlSocket>,
) -> io::Result<Option<PreloadRun>> {
    match preload {
        Some(preload) => PreloadRun::begin(preload, control).await.map(Some),
        None => {
            control.send(&fork_server_greeting(), &[])?;
            Ok(None)
        }
    }
}

fn spare_pool(connection: Weak<Connection>) -> SparePool {
    SparePool::new(move || {
        let connection = Weak::clone(&connection);
        Box::pin(async move { connection.upgrade()?.fork_spare().await.ok()? })
    })
}

/// Executes a fork server with the environment and directory of `spec` that finds its greeting at `theirs`. Waits until
/// it is settled, at `waiting`; without, it is settled later. Blocks.
fn execute(
    theirs: OwnedFd,
    spec: &ChildSpec,
    waiting: Option<&ControlSocket>,
) -> io::Result<(Rights, async_process::Child, Settled)> {
    let rights = Rights::now();
    let child = exec_fork_server(theirs, spec)?;
    let settled = match waiting {
        Some(control) => wait_until_settled(&child, control)?,
        None => Settled::Fit(None),
    };
    Ok((rights, child, settled))
}

/// Waits until the fork server is settled, and kills it if it never is. Blocks.
fn wait_until_settled(
    child: &async_process::Child,
    control: &ControlSocket,
) -> io::Result<Settled> {
    let deadline = Instant::now() + ENTRY_TIMEOUT;
    loop {
        match control.try_recv() {
            Ok(Some((message, _))) => return Ok(settled(message)),
            Ok(None) => return Ok(Settled::Ended),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // Unreaped, because the handle is borrowed: the pid is the child's own.
            signal::send(child.id(), libc::SIGKILL)?;
            return Err(io::Error::other(NEVER_ENTERED));
        }
        socket::wait_readable(control, Some(left))?;
    }
}
