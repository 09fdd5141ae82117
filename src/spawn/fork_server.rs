//! A fork server as the application sees it: started at first use, replaced when it is gone.
//!
//! Must stay true: what a lost fork server was asked for is asked again, unless it has begun.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, MutexGuard, Semaphore};

use super::connection::{Connection, Opened};
use super::fork_request::ForkRequest;
use super::link::ParentLink;
use super::pending::{ChildIds, ForkAnswer, PendingChild};
use super::preload::Preload;
use crate::background;
use crate::sys::process_mark::PerProcess;
use crate::transfer::messages::Refusal;

/// How many children one fork server is asked for at a time. It forks one after the other; more requests would only
/// wait in its socket, which has room for this many of the longest.
const REQUESTS_AT_ONCE: usize = 8;

/// So many fork servers may die in a row under one request before it is left to another start method.
const ATTEMPTS: usize = 3;

/// So many fork servers may end in a row before they can fork. Then none can: a filter may kill what makes a system
/// call that they need (`seccomp(2)`).
const ATTEMPTS_TO_OPEN: usize = 2;

/// A fork server, whether it runs at the moment or not.
#[derive(Debug)]
pub(crate) struct ForkServer {
    preload: Option<Preload>,
    state: Mutex<ForkServerState>,
    /// One permit for each request at a time.
    permits: Semaphore,
    /// Whether any child was ever forked.
    has_forked: AtomicBool,
}

/// Whether a fork server runs.
#[derive(Debug)]
enum ForkServerState {
    /// None runs; the next request starts one.
    Down,
    Up(Arc<Connection>),
    /// None can ever fork in this program; the reason. No further one is started.
    Unfit(String),
}

impl ForkServerState {
    /// The running fork server if it can be used, or why there cannot be one. `None` if one must be started.
    #[must_use]
    fn usable(&mut self) -> Option<Result<Arc<Connection>, String>> {
        match self {
            Self::Unfit(why) => return Some(Err(why.clone())),
            Self::Up(connection) if connection.has_current_rights() => {
                return Some(Ok(Arc::clone(connection)));
            }
            Self::Up(_) | Self::Down => {}
        }
        *self = Self::Down;
        None
    }

    /// One was started, or cannot be.
    fn on_opened(
        &mut self,
        opened: Result<Arc<Connection>, String>,
    ) -> Result<Arc<Connection>, String> {
        match &opened {
            Ok(connection) => *self = Self::Up(Arc::clone(connection)),
            Err(why) => self.on_unfit(why.clone()),
        }
        opened
    }

    /// The fork server of `connection` is gone, unless it was replaced before.
    fn on_gone(&mut self, connection: &Arc<Connection>) {
        if matches!(self, Self::Up(current) if Arc::ptr_eq(current, connection)) {
            *self = Self::Down;
        }
    }

    fn on_unfit(&mut self, why: String) {
        #[cfg(feature = "tracing")]
        if !matches!(self, Self::Unfit(_)) {
            tracing::warn!(
                why,
                "processes cannot be forked here: every one executes the program, which takes longer"
            );
        }
        *self = Self::Unfit(why);
    }
}

/// A child that was forked, and the parent's ends of its rings.
#[derive(Debug)]
pub(super) struct ForkedChild {
    pub(super) ids: ChildIds,
    pub(super) link: Box<ParentLink>,
}

impl ForkedChild {
    fn new(ids: ChildIds, link: ParentLink) -> Self {
        let link = Box::new(link);
        Self { ids, link }
    }
}

/// What came of one attempt to fork a child.
#[derive(Debug)]
enum ForkAttempt {
    Forked(ForkedChild),
    /// This child cannot be forked; the reason.
    Refused(String),
    /// Another fork server must be asked.
    ServerLost,
}

/// The fork server of all children that need no preload. What a copy of this process has is not its own: the children
/// would be the original's.
static SHARED_FORK_SERVER: PerProcess<ForkServer> = PerProcess::new(ForkServer::new);

/// Starts the fork server now, so that the first process or worker does not wait for it.
///
/// Processes and workers are forked from a fork server that is started at their first use, which takes about as long as
/// executing a program. Calling this is never necessary.
///
/// # Errors
///
/// The fork server could not be started, or processes cannot be forked here and will be executed instead
/// ([`StartMethod::Exec`](crate::StartMethod::Exec)). Everything works then too, only slower.
///
/// # Cancel safety
///
/// Cancel safe: a fork server that was not ready yet ends, and the next start begins another.
///
/// ```
/// # #[procession::main]
/// # async fn main() -> std::io::Result<()> {
/// procession::warm_up().await?;
/// # Ok(())
/// # }
/// ```
pub async fn warm_up() -> io::Result<()> {
    match ForkServer::shared().connect().await? {
        Ok(_) => Ok(()),
        Err(why) => Err(io::Error::new(io::ErrorKind::Unsupported, why)),
    }
}

impl ForkServer {
    /// The fork server of all children that need no preload.
    pub(crate) fn shared() -> &'static Self {
        SHARED_FORK_SERVER.get()
    }

    fn new() -> Self {
        Self {
            preload: None,
            state: Mutex::const_new(ForkServerState::Down),
            permits: Semaphore::const_new(REQUESTS_AT_ONCE),
            has_forked: AtomicBool::new(false),
        }
    }

    /// A fork server that runs `preload` first, so that its children find it done.
    pub(crate) fn with_preload(preload: Preload) -> Self {
        Self {
            preload: Some(preload),
            ..Self::new()
        }
    }

    /// Forks the child of `request`. The inner error says why it cannot be forked.
    ///
    /// Cancel safe: a child that exists is killed and reaped.
    pub(super) async fn fork(
        &self,
        request: &ForkRequest<'_>,
    ) -> io::Result<Result<ForkedChild, String>> {
        let Ok(_permit) = background::despite_others(self.permits.acquire()).await else {
            return Ok(Err("the fork server takes no more requests".to_owned())); // never closed
        };
        for _ in 0..ATTEMPTS {
            let connection = match self.connect().await? {
                Ok(connection) => connection,
                Err(why) => return Ok(Err(why)),
            };
            match self.try_fork(&connection, request).await? {
                ForkAttempt::Forked(forked) => return Ok(Ok(forked)),
                ForkAttempt::Refused(why) => return Ok(Err(why)),
                ForkAttempt::ServerLost => {}
            }
        }
        let why = "the fork server ended again and again";
        // A filter may kill what makes a system call that forking needs (`seccomp(2)`).
        if !self.has_forked.load(Ordering::Relaxed) {
            self.lock().await.on_unfit(why.to_owned());
        }
        Ok(Err(why.to_owned()))
    }

    /// One attempt.
    async fn try_fork(
        &self,
        connection: &Arc<Connection>,
        request: &ForkRequest<'_>,
    ) -> io::Result<ForkAttempt> {
        let demand = connection.begin_demand();
        if let Some((ids, mut link)) = connection.convert_spare(&demand, request)? {
            match &mut link.release {
                Some(release) => release.then(|| demand.satisfied()),
                None => demand.satisfied(),
            }
            return Ok(ForkAttempt::Forked(ForkedChild::new(ids, link)));
        }
        let (pending, child_end) = PendingChild::new()?;
        let mut link = request.greet(pending.control())?;
        let answer = connection.fork(request, pending, child_end).await?;
        let (ids, early) = match answer {
            ForkAnswer::Forked { ids, early } => (ids, early),
            ForkAnswer::Refused(refusal) => return self.on_refused(refusal).await,
            ForkAnswer::ServerGone => return self.on_lost(connection, link).await,
            ForkAnswer::TimedOut => {
                // Not allowed if this process has given up the rights with which it started the fork server.
                let _ = connection.kill();
                return self.on_lost(connection, link).await;
            }
        };
        for (message, fds) in early {
            // A blob that cannot be mapped is missed by the reply that names it.
            let _ = link.replies.accept(message, fds);
        }
        demand.satisfied();
        self.has_forked.store(true, Ordering::Relaxed);
        Ok(ForkAttempt::Forked(ForkedChild::new(ids, link)))
    }

    async fn on_refused(&self, refusal: Refusal) -> io::Result<ForkAttempt> {
        match refusal {
            Refusal::Failed { errno } => Err(io::Error::from_raw_os_error(errno)),
            Refusal::Barred => Ok(ForkAttempt::Refused(
                "the fork server may not enter the working directory".to_owned(),
            )),
            Refusal::Unfit(why) => {
                self.lock().await.on_unfit(why.clone());
                Ok(ForkAttempt::Refused(why))
            }
        }
    }

    /// The fork server is gone. The child may exist and not be known: it is killed, and must not have begun.
    async fn on_lost(
        &self,
        connection: &Arc<Connection>,
        mut link: ParentLink,
    ) -> io::Result<ForkAttempt> {
        self.lock().await.on_gone(connection);
        match link.revoke() {
            true => Ok(ForkAttempt::ServerLost),
            false => Err(io::Error::other(
                "a worker was forked, had begun and was lost with its fork server",
            )),
        }
    }

    /// The future that has the lock may be in a runtime that is not driven.
    async fn lock(&self) -> MutexGuard<'_, ForkServerState> {
        background::despite_others(self.state.lock()).await
    }

    /// The running fork server, started if there is none; or why there cannot be one.
    async fn connect(&self) -> io::Result<Result<Arc<Connection>, String>> {
        let mut state = self.lock().await;
        if let Some(usable) = state.usable() {
            return Ok(usable);
        }
        for _ in 0..ATTEMPTS_TO_OPEN {
            match Connection::open(self.preload.as_ref()).await? {
                Opened::Fit(connection) => return Ok(state.on_opened(Ok(connection))),
                Opened::Unfit(why) => return Ok(state.on_opened(Err(why))),
                Opened::Ended => {}
            }
        }
        let why = "the fork server ended before it could fork";
        Ok(state.on_opened(Err(why.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfit_is_final() {
        let mut state = ForkServerState::Down;
        assert!(state.usable().is_none());
        assert!(state.on_opened(Err("threads".to_owned())).is_err());
        let usable = state.usable();
        assert!(matches!(usable, Some(Err(why)) if why == "threads"));
    }
}
