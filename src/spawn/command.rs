//! The command that executes this program again.
//!
//! `/proc/self/exe` and not `current_exe()`: the file may have been replaced since this process started, and then its
//! functions are at other addresses. On the `posix_spawn` path, never `pre_exec`: that makes the standard library fork,
//! which takes 40 ms per GiB of this process's heap. What must be set in the child, the child sets itself.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::leaked::LeakedChildren;
use super::spec::ChildSpec;
use crate::sys::inheritable::Inheritable;
use crate::sys::{hook, procfs, program};
use crate::transfer::entry_point::EntryPoint;

/// The command line and environment of a child whose control socket is at standard slot `slot`. Its streams are not
/// set.
pub(super) fn command(spec: &ChildSpec, slot: u32) -> io::Result<async_process::Command> {
    let entry_point = EntryPoint::of_this_process()?;
    let mut arguments = std::env::args_os();
    let mut command = std::process::Command::new(program::path());
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments);
    if !spec.detached {
        command.process_group(0); // the leader of a group cannot become the leader of a session
    }
    if spec.surroundings.clear_environment {
        command.env_clear();
    }
    for (key, value) in &spec.surroundings.environment {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    let inheritable = Inheritable::now();
    command.env(
        hook::CHILD,
        format!("{}{inheritable}", entry_point.env_value(slot)),
    );
    if let Some(directory) = &spec.surroundings.directory {
        command.current_dir(directory);
    }
    // Before its streams are set: this conversion resets them.
    Ok(async_process::Command::from(command))
}

/// How many descriptors starting a command takes at most.
const DESCRIPTORS_OF_A_START: usize = 8;

/// Descriptors that are free once this is dropped. Taken before a start, because a child whose pidfd cannot be opened
/// is lost.
#[derive(Debug)]
pub(super) struct Reserve {
    _fds: Vec<OwnedFd>,
}

impl Reserve {
    pub(super) fn take() -> io::Result<Self> {
        let null = std::fs::File::open("/dev/null").map_err(explain)?;
        let mut fds = (1..DESCRIPTORS_OF_A_START)
            .map(|_| null.try_clone().map(OwnedFd::from))
            .collect::<io::Result<Vec<_>>>()?;
        fds.push(null.into());
        Ok(Self { _fds: fds })
    }
}

/// Starts the command with the descriptors of the reserve. If this fails, no child is left.
pub(super) fn start(
    command: &mut async_process::Command,
    reserve: Reserve,
) -> io::Result<async_process::Child> {
    program::start_without_gaining_rights(|| start_here(command, reserve))?
}

fn start_here(
    command: &mut async_process::Command,
    reserve: Reserve,
) -> io::Result<async_process::Child> {
    static HAS_STARTED: AtomicBool = AtomicBool::new(false);
    if !HAS_STARTED.load(Ordering::Relaxed) {
        check_room(MOST_OF_FIRST_START)?;
    }
    let leaked = LeakedChildren::before_start();
    drop(reserve);
    let started = command.spawn();
    HAS_STARTED.fetch_or(started.is_ok(), Ordering::Relaxed);
    if started.is_err() {
        leaked.reap();
    }
    started.map_err(explain)
}

/// How many threads and processes the first start takes: the child, and two threads of async-process. Where such a
/// thread cannot be started, async-process panics, and again while it unwinds.
const MOST_OF_FIRST_START: usize = 3;

/// How long the kernel may count threads that were joined.
const LEAVING_THREADS: Duration = Duration::from_millis(10);

/// Checks that this process may start so many threads and processes (`RLIMIT_NPROC`, `getrlimit(2)`; the pids
/// controller).
fn check_room(threads: usize) -> io::Result<()> {
    let before = procfs::thread_count()?;
    std::thread::scope(|scope| {
        // Kept until the check is over, so that all threads are there at the same time.
        let mut held = Vec::new();
        for _ in 0..threads {
            let (hold, waits) = mpsc::channel::<()>();
            std::thread::Builder::new().spawn_scoped(scope, move || waits.recv())?;
            held.push(hold);
        }
        io::Result::Ok(())
    })?;
    // The kernel counts a joined thread a moment longer.
    let deadline = Instant::now() + LEAVING_THREADS;
    while procfs::thread_count()? > before && Instant::now() < deadline {
        std::thread::yield_now();
    }
    Ok(())
}

/// Says what is missing if `/proc` is not mounted, as after `chroot`, or if the dynamic linker was executed with a
/// program that cannot be executed by itself.
fn explain(error: io::Error) -> io::Error {
    let why = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
            if program::was_started_by_linker() =>
        {
            "this program was started as an argument of the dynamic linker (`ld.so PROGRAM`), and its file \
             cannot be executed"
        }
        io::ErrorKind::NotFound if !program::path().exists() => {
            "`/proc` is not mounted, and processes are started by `/proc/self/exe`; mount it there"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), why)
}

/// The parent's ends of the streams that were piped, by standard slot.
pub(super) fn take_pipes(started: &mut async_process::Child) -> io::Result<[Option<OwnedFd>; 3]> {
    Ok([
        started.stdin.take().map(OwnedFd::try_from).transpose()?,
        started.stdout.take().map(OwnedFd::try_from).transpose()?,
        started.stderr.take().map(OwnedFd::try_from).transpose()?,
    ])
}
