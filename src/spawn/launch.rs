//! Starting a child: a fork server is asked for one, or the same program is executed once more and
//! invited to come in as a worker.
//!
//! `/proc/self/exe` and not `current_exe()`: the file may have been replaced since this process
//! started, and then its functions lie elsewhere. On the posix_spawn path, never `pre_exec`: that forces a
//! fork, which costs 40 ms per GiB of the parent's heap. What must be set in the child, the child sets
//! itself.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use super::child_guard::ChildGuard;
use super::fork_request::ForkRequest;
use super::fork_server;
use super::fork_server::{Fork, ForkServer};
use super::leaked::LeakedChildren;
use super::link::{Ends, First, Rings};
use super::spare::Release;
use super::start_method::StartMethod;
use crate::call::{ReplyReader, RequestWriter, Written};
use crate::sys::doorbell::Doorbell;
use crate::sys::parent_death::ParentDeathPipe;
use crate::sys::{hook, image, sched, signal, socket, stdio};
use crate::transfer::control::ControlSocket;
use crate::transfer::entry_point::EntryPoint;
use crate::transfer::greeting::{Greeting, Role};
use crate::transfer::messages::{FromStdioHelper, ToWorker};

/// Everything about a child that is known before it starts.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChildSpec {
    pub(crate) name: Option<String>,
    pub(crate) pool: Option<String>,
    pub(crate) number: Option<usize>,
    pub(crate) nice: i32,
    pub(crate) processors: Option<Vec<u32>>,
    /// In bytes, beyond what the child has at its start.
    pub(crate) memory_limit: Option<u64>,
    /// Other limits, by the kernel's numbers.
    pub(crate) limits: Vec<(u32, u64)>,
    /// Whether it outlives this process.
    pub(crate) detached: bool,
    pub(crate) environment: Vec<(OsString, Option<OsString>)>,
    pub(crate) clear_environment: bool,
    pub(crate) directory: Option<PathBuf>,
}

/// What the caller said about the child's standard streams; `None` is the default.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    pub(crate) stdin: Option<Stdio>,
    pub(crate) stdout: Option<Stdio>,
    pub(crate) stderr: Option<Stdio>,
}

impl Streams {
    /// Whether the caller said nothing.
    fn are_default(&self) -> bool {
        self.stdin.is_none() && self.stdout.is_none() && self.stderr.is_none()
    }
}

/// Variables that are read before anything of the program runs: by the dynamic linker, and by the C
/// library's allocator. In a process that is forked they come too late.
const READ_AT_EXEC: [&str; 3] = ["LD_", "GLIBC_TUNABLES", "MALLOC_"];

impl ChildSpec {
    fn speaks_to_the_linker(&self) -> bool {
        self.environment.iter().any(|(key, _)| {
            let key = key.as_encoded_bytes();
            READ_AT_EXEC.iter().any(|it| key.starts_with(it.as_bytes()))
        })
    }
}

/// A child that was started and the ways to it.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) requests: RequestWriter,
    pub(crate) replies: ReplyReader,
    /// What became of what was to be there first; `None` if it was not written yet.
    pub(crate) posted: Option<Written>,
    /// Whether it is a copy of a process that had come so far, and so will come.
    pub(crate) forked: bool,
    pub(crate) guard: ChildGuard,
    pub(crate) pidfd: OwnedFd,
    /// What the child is tied to, if it is; without it the child is killed.
    pub(crate) parent_death: Option<Arc<ParentDeathPipe>>,
    /// The parent's ends of the streams that were to be piped.
    pub(crate) pipes: [Option<OwnedFd>; 3],
    untold: Option<Release>,
}

impl Launched {
    fn new(ends: Ends, guard: ChildGuard, pidfd: OwnedFd, pipes: [Option<OwnedFd>; 3]) -> Self {
        Self {
            requests: ends.requests,
            replies: ends.replies,
            posted: ends.posted,
            forked: guard.is_forked(),
            parent_death: ends.parent_death,
            guard,
            pidfd,
            pipes,
            untold: ends.untold,
        }
    }

    /// What is to be sent with the request takes a while: nobody waits for that.
    pub(crate) fn takes_long(&mut self) {
        if let Some(untold) = &mut self.untold {
            untold.let_others_ask();
        }
    }

    /// Lets a process of one task begin.
    ///
    /// # Errors
    ///
    /// It cannot be told, or what goes with its request cannot be sent. One that is no more by now is neither.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        let Some(untold) = self.untold.take() else {
            self.requests.send(ToWorker::Ready);
            return self.requests.send_unsent();
        };
        self.requests.send_unsent()?;
        match untold.tell() {
            Err(error) if socket::is_end(&error) => Ok(()),
            told => told,
        }
    }
}

/// How many descriptors a start takes beside those that are opened before it. That many are known
/// to be free before the child exists, because a child whose pidfd could not be opened is lost.
const DESCRIPTORS_OF_A_START: usize = 8;

/// Where children come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// Each is the program, executed.
    Exec,
    /// The fork server of the whole application.
    Shared,
    /// A fork server that was prepared for these children.
    Own(Arc<ForkServer>),
}

impl Source {
    /// Where children come from that are started this way and need nothing special.
    pub(crate) fn of(method: StartMethod) -> Self {
        match method {
            StartMethod::Exec => Self::Exec,
            StartMethod::ForkServer => Self::Shared,
        }
    }

    fn fork_server(&self) -> Option<&ForkServer> {
        match self {
            Self::Exec => None,
            Self::Shared => Some(&fork_server::SHARED),
            Self::Own(server) => Some(server),
        }
    }
}

/// Starts a child on the current runtime, which rings `bell`; or, without one, one that runs one task. Where that can
/// be done, `first` is written before the child is there, so that it need not wait for it.
///
/// Cancel safe: a child that was started and that nobody waits for any more is killed and reaped.
pub(crate) async fn launch(
    source: &Source,
    spec: ChildSpec,
    streams: Streams,
    bell: Option<&Doorbell>,
    first: First<'_>,
) -> io::Result<Launched> {
    sched::check_affinity(spec.processors.as_deref())?;
    let forkable = streams.are_default() && !spec.speaks_to_the_linker();
    if let Some(server) = source.fork_server().filter(|_| forkable) {
        match fork(server, &spec, bell, first).await? {
            Ok(launched) => return Ok(launched),
            // What the server was prepared with is not to be had elsewhere.
            Err(why) if matches!(source, Source::Own(_)) => return Err(io::Error::other(why)),
            Err(_) => {}
        }
    }
    let bell = bell.map(Doorbell::try_clone).transpose()?;
    tokio::task::spawn_blocking(move || exec(&spec, streams, bell.as_ref()))
        .await
        .map_err(io::Error::other)?
}

/// Forks a child. The inner error says why none can be forked.
async fn fork(
    server: &ForkServer,
    spec: &ChildSpec,
    bell: Option<&Doorbell>,
    first: First<'_>,
) -> io::Result<Result<Launched, String>> {
    let wish = ForkRequest::new(spec, bell, first)?;
    // Each part of a start is a system call or twenty: others get their turn in between.
    tokio::task::yield_now().await;
    let (born, ends) = match server.fork(&wish).await? {
        Fork::Born(born, ends) => (born, ends),
        Fork::Unfit(why) => return Ok(Err(why)),
    };
    let guard = ChildGuard::forked(born.pid, spec);
    let pidfd = match born.pidfd {
        Some(pidfd) => pidfd,
        None => match signal::pidfd(born.pid) {
            // It has ended, and this program lets nobody wait for its children.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => signal::ended_pidfd()?,
            opened => opened?,
        },
    };
    let launched = Launched::new(*ends, guard, pidfd, [None, None, None]);
    tokio::task::yield_now().await;
    Ok(Ok(launched))
}

/// Executes a child. Blocks for about a millisecond: not on a runtime thread.
fn exec(spec: &ChildSpec, streams: Streams, bell: Option<&Doorbell>) -> io::Result<Launched> {
    let (role, rings) = Rings::with(bell)?;
    let door = Door::open(streams)?;
    let slots: Vec<_> = door.beside.iter().map(|(slot, _)| *slot).collect();
    let greeting = greeting(spec, role, &slots);
    let beside = door.beside.iter().map(|(_, fd)| fd.as_fd());
    let fds: Vec<_> = rings.descriptors(bell).chain(beside).collect();
    door.ours.send(&greeting, &fds)?;

    let reserve = reserve_descriptors()?;
    let mut command = command(spec, door.slot)?;
    let (control, mut pipes) = door.attach(&mut command)?;
    let mut started = start(&mut command, reserve)?;
    take_pipes(&mut started, &mut pipes)?;
    let guard = ChildGuard::executed(started, spec);
    let pidfd = signal::pidfd(guard.signal_handle().pid())?;
    let ends = rings.ends(&Arc::new(control));
    Ok(Launched::new(ends, guard, pidfd, pipes))
}

/// Executes a fork server that finds its greeting at `theirs`. Blocks.
pub(super) fn exec_fork_server(theirs: OwnedFd) -> io::Result<async_process::Child> {
    let mut command = command(&ChildSpec::default(), 0)?;
    command
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::inherit())
        .stderr(Stdio::inherit());
    let reserve = reserve_descriptors()?;
    // From a thread that ends: what the server forks is that thread's child as well, and must not be taken for a
    // child that a thread of the pool of blocking threads has started and lost.
    let starting = || start(&mut command, reserve);
    std::thread::scope(|scope| scope.spawn(starting).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Starts a child, for which descriptors were kept free. None is left if that fails.
fn start(
    command: &mut async_process::Command,
    reserve: Vec<OwnedFd>,
) -> io::Result<async_process::Child> {
    let strays = LeakedChildren::before_start();
    drop(reserve);
    let started = command.spawn();
    if started.is_err() {
        strays.reap();
    }
    started
}

/// The control socket's two ends, and which standard slot of the child has the other one.
///
/// Only the standard slots can be given to a child without leaving the posix_spawn path, so the
/// child's end sits in one of them until the child has moved it. What belongs there comes beside the
/// greeting. An opaque [`Stdio`] can only be given to a process: if the caller has said something
/// about all three slots, another process is started to receive the first and send it back.
#[derive(Debug)]
struct Door {
    ours: ControlSocket,
    theirs: OwnedFd,
    slot: u32,
    streams: [Option<Stdio>; 3],
    beside: Vec<(u32, OwnedFd)>,
    pipe: Option<(usize, OwnedFd)>,
}

impl Door {
    fn open(streams: Streams) -> io::Result<Self> {
        let (ours, theirs) = socket::pair()?;
        let mut door = Self {
            ours: ControlSocket::new(ours),
            theirs,
            slot: 0,
            streams: [streams.stdin, streams.stdout, streams.stderr],
            beside: Vec::new(),
            pipe: None,
        };
        if let Some(stdin) = door.streams[0].take() {
            door.make_way(stdin)?;
        }
        Ok(door)
    }

    /// The caller wants to say what stdin is, so the socket goes elsewhere, or stdin comes beside.
    fn make_way(&mut self, stdin: Stdio) -> io::Result<()> {
        for slot in [1, 2] {
            if self.streams[slot as usize].is_none() {
                if stdio::is_inheritable(stdio::standard(slot)) {
                    self.beside
                        .push((slot, stdio::standard(slot).try_clone_to_owned()?));
                }
                self.slot = slot;
                self.streams[0] = Some(stdin);
                return Ok(());
            }
        }
        let (received, pipe) = fetch_by_courier(stdin)?;
        self.beside.push((0, received));
        self.pipe = pipe.map(|end| (0, end));
        Ok(())
    }

    /// Gives the command its streams. What remains are the parent's ends.
    fn attach(
        self,
        command: &mut async_process::Command,
    ) -> io::Result<(ControlSocket, [Option<OwnedFd>; 3])> {
        let [stdin, stdout, stderr] = self.streams;
        let mut slots = [
            stdin.unwrap_or_else(Stdio::null),
            stdout.unwrap_or_else(Stdio::inherit),
            stderr.unwrap_or_else(Stdio::inherit),
        ];
        slots[self.slot as usize] = Stdio::from(self.theirs);
        let [stdin, stdout, stderr] = slots;
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        let mut pipes = [None, None, None];
        if let Some((slot, end)) = self.pipe {
            pipes[slot] = Some(end);
        }
        Ok((self.ours, pipes))
    }
}

/// The first message to a fork server.
pub(super) fn fork_server_greeting() -> Greeting {
    greeting(&ChildSpec::default(), Role::ForkServer, &[])
}

pub(super) fn greeting(spec: &ChildSpec, role: Role, streams: &[u32]) -> Greeting {
    Greeting {
        fingerprint: image::fingerprint(),
        role,
        parent: std::process::id(),
        name: spec.name.clone(),
        pool: spec.pool.clone(),
        number: spec.number,
        nice: sched::nice_below(spec.nice),
        processors: spec.processors.clone().unwrap_or_else(sched::affinity),
        memory_limit: spec.memory_limit,
        limits: spec.limits.clone(),
        detached: spec.detached,
        stdio_slots: streams.to_vec(),
    }
}

/// The command line and environment of a child whose control socket is at `slot`.
fn command(spec: &ChildSpec, slot: u32) -> io::Result<async_process::Command> {
    let entry_point = EntryPoint::of_this_process()?;
    let mut arguments = std::env::args_os();
    let mut command = std::process::Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments);
    if !spec.detached {
        command.process_group(0); // a leader of a group cannot become one of a session
    }
    if spec.clear_environment {
        command.env_clear();
    }
    for (key, value) in &spec.environment {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    command.env(hook::CHILD, entry_point.env_value(slot));
    if let Some(directory) = &spec.directory {
        command.current_dir(directory);
    }
    // Streams are set on the async command: converting resets those set before.
    Ok(async_process::Command::from(command))
}

fn reserve_descriptors() -> io::Result<Vec<OwnedFd>> {
    let null = std::fs::File::open("/dev/null")?;
    let open = |_| null.try_clone().map(OwnedFd::from);
    (1..DESCRIPTORS_OF_A_START).map(open).collect()
}

fn take_pipes(
    started: &mut async_process::Child,
    pipes: &mut [Option<OwnedFd>; 3],
) -> io::Result<()> {
    if let Some(stdin) = started.stdin.take() {
        pipes[0] = Some(OwnedFd::try_from(stdin)?);
    }
    if let Some(stdout) = started.stdout.take() {
        pipes[1] = Some(OwnedFd::try_from(stdout)?);
    }
    if let Some(stderr) = started.stderr.take() {
        pipes[2] = Some(OwnedFd::try_from(stderr)?);
    }
    Ok(())
}

/// Finds out what descriptor an opaque stdin is, by giving it to a process that sends it back.
///
/// Returns the child's end and, if it was to be a pipe, the parent's.
fn fetch_by_courier(stdin: Stdio) -> io::Result<(OwnedFd, Option<OwnedFd>)> {
    let (ours, theirs) = socket::pair()?;
    let door = Door {
        ours: ControlSocket::new(ours),
        theirs,
        slot: 1,
        streams: [Some(stdin), None, None],
        beside: Vec::new(),
        pipe: None,
    };
    let spec = ChildSpec::default();
    let greeting = greeting(&spec, Role::StdioHelper, &[]);
    door.ours.send(&greeting, &[])?;
    let mut command = command(&spec, door.slot)?;
    let (control, mut pipes) = door.attach(&mut command)?;
    let mut courier = command.spawn()?;
    drop(command); // with the child's end of the socket, so that its death is the socket's end
    take_pipes(&mut courier, &mut pipes)?;
    match control.recv()? {
        Some((FromStdioHelper::Stdin, mut fds)) if fds.len() == 1 => {
            let [stdin, _, _] = pipes;
            Ok((fds.remove(0), stdin))
        }
        _ => Err(io::Error::other(
            "the process that was to hand over a standard stream ended early",
        )),
    }
}
