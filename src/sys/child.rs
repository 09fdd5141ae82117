//! What a process does to itself and to its children: identity, priority, signals.
//!
//! # Safety
//!
//! The calls made through `libc` take integers only and touch no memory of this process.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, IntoRawFd as _, OwnedFd};

use rustix::io::{Errno, FdFlags};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitOptions};

/// A descriptor that becomes readable when the child `pid` has ended.
///
/// The caller holds the child unreaped, so the number cannot have been reused.
pub(crate) fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    let fd = rustix::process::pidfd_open(checked(pid)?, PidfdFlags::empty())?;
    Ok(fd)
}

/// Sends `signal` to the process `pid` alone.
///
/// The caller holds the child unreaped, so the number cannot have been reused.
pub(crate) fn signal(pid: u32, signal: i32) -> io::Result<()> {
    kill(checked(pid)?.as_raw_nonzero().get(), signal)
}

/// Sends `signal` to every process of the group that `pid` leads.
///
/// The caller holds the child unreaped, so the number cannot have been reused.
pub(crate) fn signal_group(pid: u32, signal: i32) -> io::Result<()> {
    kill(-checked(pid)?.as_raw_nonzero().get(), signal)
}

/// How a child has ended that nobody has reaped yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ending {
    /// By a signal, and not by exiting.
    pub(crate) killed: bool,
}

/// How the child `pid` has ended, without reaping it; `None` if it has not, or was reaped.
pub(crate) fn how_it_ended(pid: u32) -> Option<Ending> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    let status = rustix::process::waitid(WaitId::Pid(checked(pid).ok()?), options);
    let status = status.ok().flatten()?;
    Some(Ending {
        killed: !status.exited(),
    })
}

/// Waits for the end of the child `pid`, which nobody else waits for, and reaps it.
pub(crate) fn reap(pid: u32) -> io::Result<()> {
    let pid = checked(pid)?;
    rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()))?;
    Ok(())
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

/// Lowers the priority of the calling thread, and so of the threads it starts.
pub(crate) fn be_nice(nice: i32) -> io::Result<()> {
    rustix::process::setpriority_process(None, nice)?;
    Ok(())
}

/// Makes writing to a closed pipe an error instead of the end, as `std` does before `main`.
pub(crate) fn ignore_broken_pipes() {
    // SAFETY: `SIG_IGN` is no handler: nothing of this program runs in signal context.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// The number of threads of this process.
pub(crate) fn threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Opens `/dev/null` at every standard slot where nothing is, so that nothing else comes to be there.
pub(crate) fn fill_standard_slots() -> io::Result<()> {
    loop {
        let null = std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/null")?;
        if null.as_raw_fd() > 2 {
            return Ok(());
        }
        // It stays open as long as the process does, as standard streams do.
        let _ = OwnedFd::from(null).into_raw_fd();
    }
}

/// Another handle on `standard`, if a child would inherit it: not where a program has closed its standard stream
/// and what was opened since happens to lie there.
pub(crate) fn inheritable(standard: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    match rustix::io::fcntl_getfd(standard) {
        Ok(flags) if flags.contains(FdFlags::CLOEXEC) => Ok(None),
        Ok(_) => Ok(Some(rustix::io::fcntl_dupfd_cloexec(standard, 3)?)),
        Err(Errno::BADF) => Ok(None),
        Err(error) => Err(error.into()),
    }
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
