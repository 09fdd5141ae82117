//! Signals to child processes, pidfds, and reaping.
//!
//! # Safety
//!
//! The calls made through `libc` take integers, or read or store one structure of the caller's.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use rustix::event::EventfdFlags;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitOptions};

/// A descriptor that becomes readable when the child `pid` has ended.
///
/// The caller holds the child unreaped, so its number cannot have been reused.
pub(crate) fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    let fd = rustix::process::pidfd_open(checked(pid)?, PidfdFlags::empty())?;
    Ok(fd)
}

/// A descriptor that is always readable. It stands in for the pidfd of a child that was already reaped.
pub(crate) fn ended_pidfd() -> io::Result<OwnedFd> {
    Ok(rustix::event::eventfd(1, EventfdFlags::CLOEXEC)?)
}

/// Sends `signal` to the process `pid` alone.
///
/// The caller holds the child unreaped, so its number cannot have been reused.
pub(crate) fn send(pid: u32, signal: i32) -> io::Result<()> {
    kill(checked(pid)?.as_raw_nonzero().get(), signal)
}

/// Kills the process behind `pidfd`. Does nothing if the process is gone.
pub(crate) fn kill_pidfd(pidfd: impl AsFd) -> io::Result<()> {
    send_by_pidfd(pidfd, rustix::process::Signal::KILL)
}

/// Continues the process behind `pidfd`, if it is stopped.
pub(crate) fn continue_pidfd(pidfd: impl AsFd) -> io::Result<()> {
    send_by_pidfd(pidfd, rustix::process::Signal::CONT)
}

fn send_by_pidfd(pidfd: impl AsFd, signal: rustix::process::Signal) -> io::Result<()> {
    match rustix::process::pidfd_send_signal(pidfd, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether there is a process `pid`, which may have ended and not been reaped.
pub(crate) fn exists(pid: u32) -> bool {
    let found = checked(pid).map(rustix::process::test_kill_process);
    matches!(found, Ok(Ok(()) | Err(rustix::io::Errno::PERM)))
}

/// Sends `signal` to every process of the group that `pid` leads.
///
/// The caller holds the child unreaped, so its number cannot have been reused.
pub(crate) fn send_to_group(pid: u32, signal: i32) -> io::Result<()> {
    kill(-checked(pid)?.as_raw_nonzero().get(), signal)
}

/// Kills the child `pid` and everything in the group it leads.
///
/// The caller holds the child unreaped, so the number cannot have been reused.
pub(crate) fn kill_group(pid: u32) {
    let _ = send_to_group(pid, libc::SIGKILL);
    // A child that has not become the leader of its group yet is in the application's.
    let _ = send(pid, libc::SIGKILL);
}

/// Reaps the child `pid` if it has ended.
///
/// # Errors
///
/// `pid` is not a child of this process, or was reaped already.
pub(crate) fn try_reap(pid: u32) -> io::Result<Option<ExitStatus>> {
    reap_with(pid, WaitOptions::NOHANG)
}

/// Waits until the child `pid` has ended, and reaps it.
pub(crate) fn reap(pid: u32) -> io::Result<()> {
    reap_with(pid, WaitOptions::empty()).map(drop)
}

/// Whether the child `pid` exited with status 0, or `None` if it has not ended. Does not reap the child.
pub(crate) fn peek_exit(pid: u32) -> io::Result<Option<bool>> {
    let pid = checked(pid)?;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let ended = rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::Pid(pid), options))?;
    Ok(ended.map(|status| status.exit_status() == Some(0)))
}

fn reap_with(pid: u32, options: WaitOptions) -> io::Result<Option<ExitStatus>> {
    let pid = checked(pid)?;
    let ended = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), options))?;
    Ok(ended.map(|(_, status)| ExitStatus::from_raw(status.as_raw())))
}

/// Whether this process has children, running or ended and not reaped. Reaps none.
pub(crate) fn has_children() -> bool {
    // SAFETY: all-zero is a valid value of this structure.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // Not by `rustix`, which lacks `__WALL`: children of every kind.
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    // SAFETY: stores one structure.
    let found = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, options) };
    found == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ECHILD)
}

/// Unblocks all signals for the calling thread, and gives every ignored signal but `SIGPIPE` its default action. Then
/// ignores the signals by which a terminal stops background processes.
///
/// A child inherits the mask and the ignored signals of its parent (`execve(2)`, `clone(2)`). An application that takes
/// signals by `sigwait` or a descriptor blocks them in all its threads: its children would never see them.
///
/// A child leads a group of its own, which is not the terminal's foreground group. Stopped, it would never finish its
/// task. Where the signals are ignored, reading fails with `EIO`, and writing and setting attributes succeed
/// (`__tty_check_change` in the kernel's `drivers/tty/tty_jobctrl.c`). They are not blocked instead: what a task
/// executes by `Command` begins with an empty mask, but with the ignored signals of its parent.
pub(crate) fn reset_inherited() {
    for signal in 1..=libc::SIGRTMAX() {
        if signal != libc::SIGPIPE && is_ignored(signal) {
            // SAFETY: `SIG_DFL` is no handler: no code of this program runs in signal context.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
    for signal in [libc::SIGTTIN, libc::SIGTTOU] {
        // SAFETY: `SIG_IGN` is no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // SAFETY: all-zero is the empty set.
    let none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: reads one set.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) };
}

fn is_ignored(signal: i32) -> bool {
    // SAFETY: all-zero is a valid action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: stores one structure.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// Kills this process and everything in its group.
pub(crate) fn kill_own_group() -> ! {
    let _ = kill(0, libc::SIGKILL);
    // Not reached: a process may always signal its own group.
    std::process::abort()
}

fn kill(target: i32, signal: i32) -> io::Result<()> {
    // Not by `rustix`: its `Signal` has no real-time signals. SAFETY: takes two integers.
    match unsafe { libc::kill(target, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Ignores `SIGPIPE`, so that a write to a closed pipe is an error, as `std` does before `main`.
pub(crate) fn ignore_sigpipe() {
    // SAFETY: `SIG_IGN` is no handler: nothing of this program runs in signal context.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// The number of a process that can be a child. Number 1 never is, and `kill(-1)` would reach every process.
fn checked(pid: u32) -> io::Result<Pid> {
    i32::try_from(pid)
        .ok()
        .filter(|pid| *pid > 1)
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}
