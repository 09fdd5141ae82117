//! The application's side of a fork server: starting it, asking it for children, replacing it.
//!
//! A request is one message that carries the child's end of a new control socket. The server answers
//! *there*, and so does the child, so answers need no numbers, and the end of that socket is the end of
//! both: of a server that was killed before it forked, or of a child that was killed before it spoke. A
//! server that is gone is replaced, and what it was asked for is asked again.
//!
//! The server is a child of the application and its leader in nothing: children are the application's
//! own, and live on when it dies.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Semaphore};

use super::launch::{Blueprint, exec_fork_server, fork_server_greeting, standard};
use super::preload::{Preload, Preparation};
use super::reaper;
use super::rings::Ends;
use crate::sys::child::{self, Rights};
use crate::sys::clock::Moment;
use crate::sys::mapping::{self, Mapping};
use crate::sys::reactor::Watched;
use crate::sys::{limits, socket};
use crate::wire::control::{Birth, Block, ControlSocket, Environment, Message, Refusal};

/// How many children one server is asked for at a time. It makes them one after the other; more would
/// only wait in its socket, which has room for this many of the longest requests.
const AT_ONCE: usize = 8;

/// A longer environment goes through shared memory, in bytes.
pub(super) const LONGEST_ENVIRONMENT: usize = 12 * 1024;

/// So many servers may die in a row under one request before it is left to another start method.
const ATTEMPTS: usize = 3;

/// How long a server may take from its start to its first instruction of ours. Far more than the slowest
/// linker and constructors need; one that takes longer will never come.
const LONGEST_START: Duration = Duration::from_secs(30);

const NEVER_CAME: &str =
    "the child did not reach `procession::init()`; is it the first line of `main`?";

const LOST: &str = "a worker was forked, had begun and was lost with its fork server";

/// How long a server may take to answer. Far more than copying the largest process takes; one that takes longer
/// was stopped, and must not hold up those who wait.
const LONGEST_FORK: Duration = Duration::from_secs(5);

/// How many messages of a newborn may be unreadable (a full descriptor table) before it is given up.
const UNREADABLE: usize = 4;

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
struct Connection {
    control: Arc<ControlSocket>,
    pidfd: OwnedFd,
    /// Whose rights it has, and so its children.
    rights: Rights,
    /// What environment it has, and so its children, if nothing else is said; `None` if it is long.
    environment: Option<Block>,
}

/// A child that was forked.
#[derive(Debug)]
pub(super) struct Born {
    pub(super) pid: u32,
    /// Missing where the descriptor table was full when it came.
    pub(super) pidfd: Option<OwnedFd>,
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

    /// Forks a child whose control socket holds the messages that `greet` sent, and whose rings what it wrote.
    ///
    /// Cancel safe: a child that nobody waits for any more is killed and reaped.
    pub(super) async fn fork(
        &self,
        birth: &Birth,
        beside: Option<&OwnedFd>,
        greet: &(impl Fn(&Arc<ControlSocket>) -> io::Result<Ends> + Sync),
    ) -> io::Result<Fork> {
        let Ok(_turn) = self.turns.acquire().await else {
            return Ok(Fork::Unfit("nobody is asked any more".to_owned())); // never closed
        };
        for _ in 0..ATTEMPTS {
            let connection = match self.connect().await? {
                Ok(connection) => connection,
                Err(why) => return Ok(Fork::Unfit(why)),
            };
            let (ours, theirs) = socket::pair()?;
            let control = Arc::new(ControlSocket::new(ours));
            let mut ends = greet(&control)?;
            let heard = Watched::new(control.as_fd().try_clone_to_owned()?)?;
            let asked = connection.ask(birth, theirs, beside);
            match asked {
                Ok(()) => {}
                Err(error) if is_end(&error) => {
                    self.lose(&connection).await;
                    continue;
                }
                Err(error) => return Err(error),
            }
            match in_time(expect(control, &heard)).await? {
                Answer::Born(born) => return Ok(Fork::Born(born, Box::new(ends))),
                Answer::Refused(Refusal::This { errno }) => {
                    return Err(io::Error::from_raw_os_error(errno));
                }
                Answer::Refused(Refusal::Unfit(why)) => {
                    self.state.lock().await.is_unfit(why);
                }
                Answer::Gone => self.lose(&connection).await,
                // Then whatever else it was asked for ends too, and is asked of another.
                Answer::Late => {
                    child::kill_by(&connection.pidfd)?;
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
            State::Up(connection) if connection.rights == Rights::now() => {
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
            let rights = Rights::now();
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
        let pidfd = child::pidfd(child.id())?;
        // From here on it is reaped in the background, whenever it ends.
        drop(child);
        Ok(Ok(Self {
            control,
            pidfd,
            rights,
            environment,
        }))
    }

    fn ask(&self, birth: &Birth, theirs: OwnedFd, beside: Option<&OwnedFd>) -> io::Result<()> {
        let directory = child::directory()?;
        let is_there = |slot| child::is_inheritable(standard(slot));
        let null = match is_there(1) && is_there(2) {
            true => None,
            false => Some(child::null()?),
        };
        let stream = |slot| match &null {
            Some(null) if !is_there(slot) => null.as_fd(),
            _ => standard(slot),
        };
        let mut fds = vec![theirs.as_fd(), directory.as_fd(), stream(1), stream(2)];
        fds.extend(beside.map(AsFd::as_fd));
        let environment = match &birth.environment {
            Environment::Here(block) if self.environment.as_ref() == Some(block) => {
                Environment::Yours
            }
            other => other.clone(),
        };
        let birth = Birth {
            environment,
            directory: birth.directory.clone(),
            limits: birth.limits.clone(),
            detached: birth.detached,
        };
        self.control.send(&Message::Fork(Box::new(birth)), &fds)
    }
}

/// Waits until a server that was just executed is there, and ends it if it never comes. Blocks. Its environment, or
/// why it cannot be one.
fn wait_for(
    child: &async_process::Child,
    control: &ControlSocket,
) -> io::Result<Result<Option<Block>, String>> {
    let deadline = Instant::now() + LONGEST_START;
    loop {
        match control.receive(false) {
            Ok(Some((Message::Settled(environment), _))) => return Ok(Ok(environment)),
            Ok(Some((Message::Refused(Refusal::Unfit(why)), _))) => return Ok(Err(why)),
            Ok(_) => {
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
            child::signal(child.id(), libc::SIGKILL)?;
            return Err(io::Error::other(NEVER_CAME));
        }
        socket::wait_readable(control, Some(left))?;
    }
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}

/// What was said at the other end of a newborn's control socket.
#[derive(Debug)]
enum Answer {
    Born(Born),
    Refused(Refusal),
    Gone,
    Late,
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
        loop {
            match (control.receive(false), alone) {
                (Ok(Some((Message::Born { pid }, fds))), _) => match fds.into_iter().next() {
                    // The child was quicker than its server, which has its descriptor.
                    None => alone = Some(pid),
                    pidfd => return Ok(Answer::Born(Born { pid, pidfd })),
                },
                (Ok(Some((Message::Refused(refusal), _))), _) => {
                    return Ok(Answer::Refused(refusal));
                }
                (Ok(Some(_)), _) => {}
                (Ok(None) | Err(_), Some(pid)) => {
                    return Ok(Answer::Born(Born { pid, pidfd: None }));
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

/// What a child of this blueprint, forked now, is to find, and shared memory that goes beside.
pub(super) fn birth(blueprint: &Blueprint) -> io::Result<(Birth, Option<OwnedFd>)> {
    let block = environment(blueprint)?;
    let (environment, beside) = if block.len() <= LONGEST_ENVIRONMENT {
        (Environment::Here(Block(block)), None)
    } else {
        let memory = mapping::memfd("procession-environment", block.len())?;
        Mapping::whole(&memory, block.len())?.write(0, &block);
        (Environment::Beside(block.len()), Some(memory))
    };
    let birth = Birth {
        environment,
        directory: blueprint.directory.clone(),
        limits: limits::all(),
        detached: blueprint.detached,
    };
    Ok((birth, beside))
}

/// What a program that is executed takes of one variable, name and value (`MAX_ARG_STRLEN`), in bytes. A
/// forked child could take more, but nothing that it executes.
const LONGEST_VARIABLE: usize = 128 * 1024;

/// The variables of a child of this blueprint, as a block.
fn environment(blueprint: &Blueprint) -> io::Result<Vec<u8>> {
    let variables = std::env::vars_os();
    if blueprint.environment.is_empty() && !blueprint.clear_environment {
        return Ok(to_block(variables.collect()));
    }
    let mut variables: BTreeMap<OsString, OsString> = match blueprint.clear_environment {
        true => BTreeMap::new(),
        false => variables.collect(),
    };
    for (key, value) in &blueprint.environment {
        let bad = key.is_empty() || key.as_bytes().contains(&b'=') || has_zero(key.as_bytes());
        if bad || value.as_ref().is_some_and(|it| has_zero(it.as_bytes())) {
            let why = "a variable of the environment has a name or a value that none can have";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let len = key.len() + value.as_ref().map_or(0, |value| value.len());
        if len + "=\0".len() > LONGEST_VARIABLE {
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        }
        match value {
            Some(value) => variables.insert(key.clone(), value.clone()),
            None => variables.remove(key),
        };
    }
    Ok(to_block(variables.into_iter().collect()))
}

fn has_zero(bytes: &[u8]) -> bool {
    bytes.contains(&0)
}

/// The block of these variables, sorted, and each once: the last that is said of it.
pub(super) fn to_block(mut variables: Vec<(OsString, OsString)>) -> Vec<u8> {
    variables.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut block = Vec::with_capacity(4096);
    for (index, (key, value)) in variables.iter().enumerate() {
        if variables
            .get(index + 1)
            .is_some_and(|(next, _)| next == key)
        {
            continue;
        }
        block.extend_from_slice(key.as_bytes());
        block.push(b'=');
        block.extend_from_slice(value.as_bytes());
        block.push(0);
    }
    block
}
