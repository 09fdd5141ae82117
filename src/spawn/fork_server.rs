//! The application's side of a fork server: starting it, asking it for children, replacing it.
//!
//! A request is one message that carries the child's end of a new control socket. The server answers
//! *there*, and so does the child, so answers need no numbers, and the end of that socket is the end of
//! both: of a server that was killed before it forked, or of a child that was killed before it spoke. A
//! server that is gone is replaced, and what it was asked for is asked again.
//!
//! The server is a child of the application and its leader in nothing: children are the application's
//! own, and live on when it dies.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Mutex, Semaphore};

use super::fork_request::ForkRequest;
use super::inherited_state::InheritedState;
use super::launch::{exec_fork_server, fork_server_greeting};
use super::link::{Ends, Rings};
use super::pending::{Answer, Born, PendingChild};
use super::preload::{Preload, Preparation};
use super::spare::{DemandGuard, Spare, SparePool};
use crate::sys::identity::Credentials;
use crate::sys::parent_death::ParentDeathPipe;
use crate::sys::socket;
use crate::sys::{signal, stdio};
use crate::transfer::control::ControlSocket;
use crate::transfer::entry_point::{ENTRY_TIMEOUT, NEVER_ENTERED};
use crate::transfer::env_block::EnvBlock;
use crate::transfer::messages::{FromForkServer, Refusal, ToForkServer};

/// How many children one server is asked for at a time. It makes them one after the other; more would
/// only wait in its socket, which has room for this many of the longest requests.
const AT_ONCE: usize = 8;

/// So many servers may die in a row under one request before it is left to another start method.
const ATTEMPTS: usize = 3;

const LOST: &str = "a worker was forked, had begun and was lost with its fork server";

/// A fork server, whether it runs at the moment or not.
#[derive(Debug)]
pub(crate) struct ForkServer {
    preload: Option<Preload>,
    state: Mutex<State>,
    turns: Semaphore,
}

#[derive(Debug)]
enum State {
    Down,
    Up(Arc<Connection>),
    /// It cannot work in this program, so nobody tries again.
    Unfit(String),
}

impl State {
    fn is_unfit(&mut self, why: String) {
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

/// A server that was started.
#[derive(Debug)]
pub(super) struct Connection {
    control: Arc<ControlSocket>,
    pidfd: OwnedFd,
    /// Whose rights it has, and so its children.
    rights: Credentials,
    /// What environment it has, and so its children, if nothing else is said; `None` if it is long.
    environment: Option<EnvBlock>,
    stock: Arc<SparePool>,
    /// Most of its children are tied to it: it is not made for each.
    _leash: Arc<ParentDeathPipe>,
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Fork {
    /// And the ends of its rings.
    Born(Born, Box<Ends>),
    /// No fork server can work here; the reason.
    Unfit(String),
}

/// The server from which everything is forked that needs no preparation.
pub(crate) static SHARED: ForkServer = ForkServer::new();

/// Starts what the first process would otherwise have to wait for.
///
/// Processes and workers are forked from a small process that is started at their first use, which takes
/// about as long as executing a program. This starts it now. It is never necessary.
///
/// # Errors
///
/// The process could not be started, or children cannot be forked here and will be executed instead
/// ([`StartMethod::Exec`](crate::StartMethod::Exec)): then too everything works, only slower.
///
/// # Cancel safety
///
/// Cancel safe: a process that was not there yet ends, and whoever needs it next starts another.
///
/// ```
/// # #[procession::main]
/// # async fn main() -> std::io::Result<()> {
/// procession::warm_up().await?;
/// # Ok(())
/// # }
/// ```
pub async fn warm_up() -> io::Result<()> {
    match SHARED.connect().await? {
        Ok(_) => Ok(()),
        Err(why) => Err(io::Error::new(io::ErrorKind::Unsupported, why)),
    }
}

impl ForkServer {
    /// One whose children are prepared by nothing.
    const fn new() -> Self {
        Self {
            preload: None,
            state: Mutex::const_new(State::Down),
            turns: Semaphore::const_new(AT_ONCE),
        }
    }

    /// One that is prepared by `preload`, as all its children are then.
    pub(crate) fn with_preload(preload: Preload) -> Self {
        Self {
            preload: Some(preload),
            ..Self::new()
        }
    }

    /// Forks the child that is wanted.
    ///
    /// Cancel safe: a child that nobody waits for any more is killed and reaped.
    pub(super) async fn fork(&self, wish: &ForkRequest<'_>) -> io::Result<Fork> {
        let Ok(_turn) = self.turns.acquire().await else {
            return Ok(Fork::Unfit("nobody is asked any more".to_owned())); // never closed
        };
        for _ in 0..ATTEMPTS {
            let connection = match self.connect().await? {
                Ok(connection) => connection,
                Err(why) => return Ok(Fork::Unfit(why)),
            };
            let asking = connection.stock.ask();
            if let Some((born, mut ends)) = connection.hand_out(&asking, wish)? {
                match &mut ends.untold {
                    Some(untold) => untold.ends(asking, connection),
                    None => asking.end(&connection),
                }
                return Ok(Fork::Born(born, Box::new(ends)));
            }
            let (newborn, theirs) = PendingChild::expected()?;
            let mut ends = wish.greet(newborn.control())?;
            match connection.ask(&wish.bequest, newborn, theirs).await? {
                Answer::Born(mut born) => {
                    for (message, fds) in born.early.drain(..) {
                        // A blob that could not be mapped is missed by the reply that names it.
                        let _ = ends.replies.accept(message, fds);
                    }
                    asking.end(&connection);
                    return Ok(Fork::Born(born, Box::new(ends)));
                }
                Answer::Refused(Refusal::Failed { errno }) => {
                    return Err(io::Error::from_raw_os_error(errno));
                }
                Answer::Refused(Refusal::Unfit(why)) => {
                    self.state.lock().await.is_unfit(why);
                }
                Answer::Gone => self.lose(&connection).await,
                // Then whatever else it was asked for ends too, and is asked of another.
                Answer::Late => {
                    signal::kill_pidfd(&connection.pidfd)?;
                    self.lose(&connection).await;
                }
            }
            // A child may be there that nobody has heard of yet. It is seen off, and must not have begun.
            if !ends.withdraw() {
                return Err(io::Error::other(LOST));
            }
        }
        Ok(Fork::Unfit(
            "the fork server ended again and again".to_owned(),
        ))
    }

    /// The server, started if there is none; or why there cannot be one.
    async fn connect(&self) -> io::Result<Result<Arc<Connection>, String>> {
        let mut state = self.state.lock().await;
        match &*state {
            State::Unfit(why) => return Ok(Err(why.clone())),
            // Children must not have rights that the application has given up.
            State::Up(connection) if connection.rights == Credentials::now() => {
                return Ok(Ok(Arc::clone(connection)));
            }
            State::Up(_) | State::Down => {}
        }
        *state = State::Down;
        match Connection::open(self.preload.as_ref()).await? {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *state = State::Up(Arc::clone(&connection));
                Ok(Ok(connection))
            }
            Err(why) => {
                state.is_unfit(why.clone());
                Ok(Err(why))
            }
        }
    }

    /// `connection` leads nowhere any more.
    async fn lose(&self, connection: &Arc<Connection>) {
        let mut state = self.state.lock().await;
        if matches!(&*state, State::Up(current) if Arc::ptr_eq(current, connection)) {
            *state = State::Down;
        }
    }
}

impl Connection {
    async fn open(preload: Option<&Preload>) -> io::Result<Result<Self, String>> {
        let (ours, theirs) = socket::pair()?;
        let control = Arc::new(ControlSocket::new(ours));
        let preparation = match preload {
            None => {
                control.send(&fork_server_greeting(), &[])?;
                None
            }
            Some(preload) => Some(Preparation::begin(preload, &control).await?),
        };
        let started = Arc::clone(&control);
        let prepared = preparation.is_some();
        let open = move || {
            let rights = Credentials::now();
            let child = exec_fork_server(theirs)?;
            let fit = match prepared {
                true => Ok(None),
                false => wait_for(&child, &started)?,
            };
            io::Result::Ok((rights, child, fit))
        };
        let opened = tokio::task::spawn_blocking(open).await;
        let (rights, mut child, fit) = opened.map_err(io::Error::other)??;
        let mut environment = match fit {
            Ok(environment) => environment,
            Err(why) => return Ok(Err(why)),
        };
        if let Some(preparation) = preparation {
            environment = preparation.end(&mut child).await?;
        }
        let pidfd = signal::pidfd(child.id())?;
        // From here on it is reaped in the background, whenever it ends.
        drop(child);
        Ok(Ok(Self {
            control,
            pidfd,
            rights,
            environment,
            stock: Arc::default(),
            _leash: ParentDeathPipe::of_this_process()?,
        }))
    }

    /// Makes a spare what is wanted, if there is one and it can still become so.
    fn hand_out(
        &self,
        asking: &DemandGuard,
        wish: &ForkRequest<'_>,
    ) -> io::Result<Option<(Born, Ends)>> {
        if !wish.bequest.suits_the_born() {
            return Ok(None);
        }
        match asking.take() {
            Some(spare) => spare.become_child(wish, self.environment.as_ref()),
            None => Ok(None),
        }
    }

    /// Asks for a child that finds `bequest`.
    async fn ask(
        &self,
        bequest: &InheritedState,
        newborn: PendingChild,
        theirs: OwnedFd,
    ) -> io::Result<Answer> {
        let sent = bequest.send(&self.control, &theirs, self.environment.as_ref());
        drop(theirs);
        match sent {
            Ok(()) => newborn.answer().await,
            Err(error) if socket::is_end(&error) => Ok(Answer::Gone),
            Err(error) => Err(error),
        }
    }

    /// A spare, if one can be made.
    pub(super) async fn spare(&self) -> io::Result<Option<Spare>> {
        let (newborn, theirs) = PendingChild::expected()?;
        let control = Arc::clone(newborn.control());
        let rings = Rings::once()?;
        let mut fds: Vec<_> = rings.descriptors(None).collect();
        fds.push(theirs.as_fd());
        self.control.send(&ToForkServer::Spare, &fds)?;
        drop(theirs);
        let ends = rings.ends(&control);
        let Answer::Born(born) = newborn.answer().await? else {
            return Ok(None);
        };
        // Closed by now, that slot will be filled again, whatever lies there.
        let is_in_the_way = born.pidfd.as_ref().is_some_and(stdio::is_at_standard_slot);
        let spare = Spare::new(control, born, ends);
        Ok((!is_in_the_way).then_some(spare))
    }
}

/// Waits until a server that was just executed is there, and ends it if it never comes. Blocks. Its environment, or
/// why it cannot be one.
fn wait_for(
    child: &async_process::Child,
    control: &ControlSocket,
) -> io::Result<Result<Option<EnvBlock>, String>> {
    let deadline = Instant::now() + ENTRY_TIMEOUT;
    loop {
        match control.try_recv() {
            Ok(Some((FromForkServer::Settled(environment), _))) => return Ok(Ok(environment)),
            Ok(Some((FromForkServer::Unfit(why), _))) => return Ok(Err(why)),
            Ok(None) => {
                return Err(io::Error::other(
                    "the fork server ended before it was there",
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // Not reaped while the child is borrowed, so the number is its own.
            signal::send(child.id(), libc::SIGKILL)?;
            return Err(io::Error::other(NEVER_ENTERED));
        }
        socket::wait_readable(control, Some(left))?;
    }
}
