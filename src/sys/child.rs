//! What a process does to itself and to its children: identity, priority, signals.
//!
//! # Safety
//!
//! The calls made through `libc` take integers only and touch no memory of this process.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, IntoRawFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use rustix::event::EventfdFlags;
use rustix::io::FdFlags;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitOptions};
use rustix::thread::CpuSet;

use super::text;

/// A descriptor that becomes readable when the child `pid` has ended.
///
/// The caller holds the child unreaped, so the number cannot have been reused.
pub(crate) fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    let fd = rustix::process::pidfd_open(checked(pid)?, PidfdFlags::empty())?;
    Ok(fd)
}

/// What is readable as the descriptor of a child is that has ended, where there is none of it any more.
pub(crate) fn always_readable() -> io::Result<OwnedFd> {
    Ok(rustix::event::eventfd(1, EventfdFlags::CLOEXEC)?)
}

/// Sends `signal` to the process `pid` alone.
///
/// The caller holds the child unreaped, so the number cannot have been reused.
pub(crate) fn signal(pid: u32, signal: i32) -> io::Result<()> {
    kill(checked(pid)?.as_raw_nonzero().get(), signal)
}

/// Kills the process behind `pidfd`. Does nothing if it is gone.
pub(crate) fn kill_by(pidfd: impl AsFd) -> io::Result<()> {
    match rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Sends `signal` to every process of the group that `pid` leads.
///
/// The caller holds the child unreaped, so the number cannot have been reused.
pub(crate) fn signal_group(pid: u32, signal: i32) -> io::Result<()> {
    kill(-checked(pid)?.as_raw_nonzero().get(), signal)
}

/// Reaps the child `pid` if it has ended.
///
/// # Errors
///
/// It is not a child of this process, or was reaped.
pub(crate) fn try_reap(pid: u32) -> io::Result<Option<ExitStatus>> {
    reap_with(pid, WaitOptions::NOHANG)
}

/// Waits until the child `pid` has ended, and reaps it.
pub(crate) fn reap(pid: u32) -> io::Result<()> {
    reap_with(pid, WaitOptions::empty()).map(drop)
}

/// Whether the child `pid` ended by exiting with status 0, if it has ended. It stays to be reaped.
pub(crate) fn how_ended(pid: u32) -> io::Result<Option<bool>> {
    let pid = checked(pid)?;
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let ended = rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::Pid(pid), look))?;
    Ok(ended.map(|status| status.exit_status() == Some(0)))
}

fn reap_with(pid: u32, options: WaitOptions) -> io::Result<Option<ExitStatus>> {
    let pid = checked(pid)?;
    let ended = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), options))?;
    Ok(ended.map(|(_, status)| ExitStatus::from_raw(status.as_raw())))
}

/// Makes this process the leader of a group of its own.
pub(crate) fn lead_group() -> io::Result<()> {
    rustix::process::setpgid(None, None)?;
    Ok(())
}

/// Makes this process the leader of a session of its own, which has no terminal, and so of a group.
pub(crate) fn lead_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// The processors that the main thread of this process may run on, by number.
pub(crate) fn processors() -> Vec<u32> {
    let own = rustix::thread::sched_getaffinity(Some(rustix::process::getpid()));
    let own = own.unwrap_or_else(|_| CpuSet::new()); // none: as it is inherited
    let numbers = 0..CpuSet::MAX_CPU;
    let mine = numbers.filter(|number| own.is_set(*number));
    mine.map(|number| number as u32).collect()
}

/// Whether these can be the numbers of the processors of any machine.
pub(crate) fn check_processors(processors: Option<&[u32]>) -> io::Result<()> {
    let possible = |number: &u32| (*number as usize) < CpuSet::MAX_CPU;
    match processors {
        Some(list) if list.is_empty() || !list.iter().all(possible) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "there are no processors for it to run on",
        )),
        _ => Ok(()),
    }
}

/// Lets the calling thread, and what it starts, run on these processors alone.
pub(crate) fn run_on(processors: &[u32]) -> io::Result<()> {
    check_processors(Some(processors))?;
    let mut wanted = CpuSet::new();
    for processor in processors {
        wanted.set(*processor as usize);
    }
    if rustix::thread::sched_getaffinity(None)? != wanted {
        rustix::thread::sched_setaffinity(None, &wanted)?;
    }
    Ok(())
}

/// What the kernel lets the calling thread, and what it starts, do: by whose right it acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rights {
    users: (u32, u32),
    groups: (u32, u32),
    more_groups: Vec<u32>,
    capabilities: Option<rustix::thread::CapabilitySets>,
    no_new: bool,
}

impl Rights {
    /// Those of the calling thread.
    pub(crate) fn now() -> Self {
        use rustix::process::{getegid, geteuid, getgid, getgroups, getuid};
        let more = getgroups().unwrap_or_default();
        Self {
            users: (getuid().as_raw(), geteuid().as_raw()),
            groups: (getgid().as_raw(), getegid().as_raw()),
            more_groups: more.iter().map(|group| group.as_raw()).collect(),
            capabilities: rustix::thread::capabilities(None).ok(),
            no_new: rustix::thread::no_new_privs().unwrap_or(false),
        }
    }
}

/// The directory this process works in, as a descriptor that only leads there.
pub(crate) fn directory() -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(".", flags, Mode::empty())?)
}

/// Makes `directory` the one this process works in.
pub(crate) fn enter(directory: impl AsFd) -> io::Result<()> {
    rustix::process::fchdir(directory)?;
    Ok(())
}

/// What `ps` and `top` show as the command of the calling thread, of which the kernel keeps 15 bytes: of
/// the path of a function the last part.
pub(crate) fn be_called(name: &str) {
    let last = name.rsplit("::").find(|part| !part.starts_with('{'));
    let name = last.unwrap_or(name);
    let kept = text::prefix(name, 15);
    let name: Vec<u8> = kept.bytes().filter(|byte| *byte != 0).collect();
    if let Ok(name) = std::ffi::CString::new(name) {
        // Only for eyes: without it the process works as well.
        let _ = rustix::thread::set_name(&name);
    }
}

/// Kills this process and everything in its group.
pub(crate) fn kill_own_group() -> ! {
    let _ = kill(0, libc::SIGKILL);
    // Not reached: a process may always signal its own group.
    std::process::abort()
}

fn kill(target: i32, signal: i32) -> io::Result<()> {
    // Not through `rustix`: its `Signal` has no real-time signals, and they are signals too.
    // SAFETY: two integers; see above.
    match unsafe { libc::kill(target, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The nice value of a process that steps back by `steps` from this one.
///
/// The main thread's counts: other threads may have values of their own.
pub(crate) fn priority(steps: i32) -> i32 {
    let own = rustix::process::getpriority_process(Some(rustix::process::getpid()));
    own.unwrap_or(0).saturating_add(steps).clamp(-20, 19)
}

/// Gives the calling thread, and so the threads it starts, this nice value.
pub(crate) fn be_nice(priority: i32) -> io::Result<()> {
    if rustix::process::getpriority_process(None)? != priority {
        rustix::process::setpriority_process(None, priority)?;
    }
    Ok(())
}

/// Makes writing to a closed pipe an error instead of the end, as `std` does before `main`.
pub(crate) fn ignore_broken_pipes() {
    // SAFETY: `SIG_IGN` is no handler: nothing of this program runs in signal context.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// What the main thread of a process is doing. It stays this process's, whoever has its number later.
#[derive(Debug)]
pub(crate) struct StateOf(Option<std::fs::File>);

impl StateOf {
    pub(crate) fn process(pid: u32) -> Self {
        let stat = std::fs::File::open(format!("/proc/{pid}/stat")).ok();
        // Not where a standard stream belongs, which the program may put there yet.
        Self(stat.filter(|it| it.as_raw_fd() > 2))
    }

    /// The letter that `proc_pid_stat(5)` explains; none if it has been reaped, or there was no descriptor for it.
    pub(crate) fn now(&self) -> Option<u8> {
        let mut bytes = [0; 64];
        let stat = self.0.as_ref()?;
        let len = std::os::unix::fs::FileExt::read_at(stat, &mut bytes, 0).ok()?;
        // Its name is in parentheses, has 15 bytes at most, and may hold parentheses.
        let end = bytes[..len].windows(2).rposition(|two| two == b") ")?;
        bytes.get(end + 2).copied()
    }
}

/// The number of threads of this process.
pub(crate) fn threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Opens `/dev/null` at every standard slot where nothing is, so that nothing else comes to be there.
pub(crate) fn fill_standard_slots() -> io::Result<()> {
    loop {
        let null = null()?;
        if null.as_raw_fd() > 2 {
            return Ok(());
        }
        // It stays open as long as the process does, as standard streams do.
        let _ = null.into_raw_fd();
    }
}

/// Whether `fd` lies where a standard stream belongs.
pub(crate) fn is_at_standard_slot(fd: &OwnedFd) -> bool {
    fd.as_raw_fd() <= 2
}

/// Whether there is something at every standard slot.
pub(crate) fn has_standard_streams() -> bool {
    use rustix::stdio::{stderr, stdin, stdout};
    let slots = [stdin(), stdout(), stderr()];
    slots
        .iter()
        .all(|slot| rustix::io::fcntl_getfd(slot).is_ok())
}

/// Whether a child would inherit `standard`: not where a program has closed its standard stream and what was
/// opened since happens to lie there.
pub(crate) fn is_inheritable(standard: BorrowedFd<'_>) -> bool {
    rustix::io::fcntl_getfd(standard).is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC))
}

/// A stream that is always empty and takes everything.
pub(crate) fn null() -> io::Result<OwnedFd> {
    let mut options = std::fs::File::options();
    Ok(options.read(true).write(true).open("/dev/null")?.into())
}

/// Moves the descriptor at standard slot `slot` away and puts `replacement` there.
pub(crate) fn take_slot(slot: u32, replacement: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let stdin = rustix::stdio::stdin();
    let stdout = rustix::stdio::stdout();
    let stderr = rustix::stdio::stderr();
    let standard = [stdin, stdout, stderr][slot as usize % 3];
    let taken = rustix::io::fcntl_dupfd_cloexec(standard, 3)?;
    put_slot(slot, replacement)?;
    Ok(taken)
}

/// Puts `replacement` at standard slot `slot`, inheritable as standard streams are.
pub(crate) fn put_slot(slot: u32, replacement: BorrowedFd<'_>) -> io::Result<()> {
    match slot {
        0 => rustix::stdio::dup2_stdin(replacement)?,
        1 => rustix::stdio::dup2_stdout(replacement)?,
        _ => rustix::stdio::dup2_stderr(replacement)?,
    }
    Ok(())
}

/// Whether `fd` is a socket that keeps message boundaries: what a parent of this crate leaves.
pub(crate) fn is_control_socket(fd: impl AsFd) -> bool {
    rustix::net::sockopt::socket_type(fd)
        .is_ok_and(|kind| kind == rustix::net::SocketType::SEQPACKET)
}

fn checked(pid: u32) -> io::Result<Pid> {
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}
