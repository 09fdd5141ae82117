//! A parent-death signal for a process whose one thread is busy.
//!
//! The parent-death pipe carries no data; only the parent holds its writing end. A child opens the reading end for
//! itself and has the kernel send `SIGKILL` to the child's process group at the end of the pipe (`fcntl(2)`,
//! `F_SETOWN`, `F_SETSIG`, `O_ASYNC`). A task cannot block `SIGKILL`, and it ends stopped processes too.
//! `PR_SET_PDEATHSIG` would not do: it follows the parent's *thread* (`prctl(2)`). It survives `execve(2)`, where all
//! else is closed, so it is there for the program that a task may put into its place.
//!
//! A worker has a thread that sees the end of the control socket, and then kills what has left the group and has its
//! directory removed. It needs no signal for that, unless it is stopped. So it has the kernel send `SIGCONT` instead,
//! which continues a stopped process whatever its action is (`signal(7)`), and changes nothing in any other.
//!
//! The control socket would not do either: the kernel sends the signal for a message after the message can be received
//! (`unix_dgram_sendmsg` in the kernel's `net/unix/af_unix.c`). A child that receives the last message and then asks
//! for the signal could be killed by the signal for that message.
//!
//! # Safety
//!
//! Only calls that take integers, with descriptors that are open.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use rustix::process::Uid;

use super::mark::F_SETSIG;
use super::process_mark::{LocalFd, ProcessMark};

/// The parent's end. A copy of the parent has none. When the last handle is dropped or this process ends, the kernel
/// kills the children that have armed a [`ParentDeathSignal`] with it.
#[derive(Debug)]
pub(crate) struct ParentDeathPipe {
    reading: LocalFd,
    _writing: LocalFd,
    mark: ProcessMark,
    /// The user who may open it (`pipe(7)`): the effective one of the process that made it.
    user: Uid,
}

/// The pipe shared by all children that live until this process ends. A process without children has none.
static PARENT_DEATH_PIPE: Mutex<Weak<ParentDeathPipe>> = Mutex::new(Weak::new());

impl ParentDeathPipe {
    /// The pipe of this process, which children of the present user can open. Earlier children keep an earlier one.
    pub(crate) fn of_this_process() -> io::Result<Arc<Self>> {
        let mut known = PARENT_DEATH_PIPE
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let user = rustix::process::geteuid();
        let fits = |pipe: &Arc<Self>| pipe.user == user && pipe.mark.is_here();
        if let Some(pipe) = known.upgrade().filter(fits) {
            return Ok(pipe);
        }
        let pipe = Self::new()?;
        *known = Arc::downgrade(&pipe);
        Ok(pipe)
    }

    /// A new pipe, for a child that may end before this process does.
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        let (reading, writing) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        // A child opens the pipe for reading. Opened for writing, a byte would kill all children, and a writing end
        // that is kept would let them outlive this process. The superuser is not stopped by this.
        rustix::fs::fchmod(&reading, Mode::RUSR)?;
        // Never in a standard slot: a program that puts its own stream there would close the pipe and kill all
        // children.
        Ok(Arc::new(Self {
            reading: LocalFd::new(rustix::io::fcntl_dupfd_cloexec(reading, 3)?),
            _writing: LocalFd::new(rustix::io::fcntl_dupfd_cloexec(writing, 3)?),
            mark: ProcessMark::here(),
            user: rustix::process::geteuid(),
        }))
    }
}

/// The descriptor that a child gets.
impl AsFd for ParentDeathPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reading.as_fd()
    }
}

/// While this value lives, the parent's end kills this process and its group, or continues this process if it is
/// stopped.
#[derive(Debug)]
pub(crate) struct ParentDeathSignal(Option<OwnedFd>);

impl ParentDeathSignal {
    /// Arms the signal that continues this process, with the reading end of the parent's pipe.
    pub(crate) fn continuing(pipe: impl AsFd) -> io::Result<Self> {
        // Not to the group: the task may have left it.
        Ok(Self(Some(arm(
            pipe.as_fd(),
            std::process::id() as i32,
            libc::SIGCONT,
        )?)))
    }

    /// Arms the signal that kills, with the reading end of the parent's pipe. Kills this process's group if the parent
    /// is gone.
    pub(crate) fn killing(pipe: impl AsFd) -> io::Result<Self> {
        // SAFETY: takes and returns integers.
        let group = unsafe { libc::getpgrp() };
        let own = arm(pipe.as_fd(), -group, libc::SIGKILL)?;
        // The kernel sends no signal for an end that came before.
        let mut watched = [PollFd::new(&own, PollFlags::empty())];
        let now = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut watched, Some(&now)))?;
        if !watched[0].revents().is_empty() {
            super::signal::kill_own_group();
        }
        Ok(Self(Some(own)))
    }

    /// Keeps the signal armed until this process ends.
    pub(crate) fn keep(mut self) {
        let _ = self.0.take().map(IntoRawFd::into_raw_fd);
    }
}

impl Drop for ParentDeathSignal {
    fn drop(&mut self) {
        if let Some(own) = &self.0 {
            // This also disarms the copies in processes that were forked meanwhile. It cannot fail: the pipe is open.
            let _ = set_signals(own, false);
        }
    }
}

/// Has the kernel end the program that this process may become (`execve(2)`) at its parent's end. Such a program has
/// neither the pipe nor the control socket. `kills_group` says whether the parent's end kills this process's group
/// before that, in case the task has closed the pipe.
///
/// Called by the thread that runs tasks: the request is a thread's (`PR_SET_PDEATHSIG(2const)`). The signal also comes
/// at the end of the parent's *thread* that has started this process. So it is a signal for which this process has a
/// handler, and which ends a program without a handler.
pub(crate) fn end_replacement(kills_group: bool) -> io::Result<()> {
    // SAFETY: takes and returns integers.
    PARENT.store(unsafe { libc::getppid() }, Ordering::Release);
    KILLS_GROUP.store(kills_group, Ordering::Release);
    let signal = libc::SIGRTMAX() - SIGNALS_FROM_THE_LAST;
    // SAFETY: all-zero is a valid action with an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_parent_thread_end as extern "C" fn(libc::c_int) as usize;
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: reads one structure, whose handler has the signature that its flags ask for.
    if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: takes integers.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Which real-time signal it is, counted from the last. Libraries take the first and the last ones.
const SIGNALS_FROM_THE_LAST: libc::c_int = 9;

/// The parent that [`end_replacement`] found.
static PARENT: AtomicI32 = AtomicI32::new(0);
static KILLS_GROUP: AtomicBool = AtomicBool::new(false);

extern "C" fn on_parent_thread_end(_signal: libc::c_int) {
    // SAFETY: takes and returns integers; allowed in a handler (`signal-safety(7)`).
    let parent = unsafe { libc::getppid() };
    if KILLS_GROUP.load(Ordering::Acquire) && parent != PARENT.load(Ordering::Acquire) {
        // SAFETY: likewise.
        unsafe { libc::kill(0, libc::SIGKILL) };
    }
}

/// Has the kernel continue this process at its parent's end, in case it is stopped then. It also does so at the end of
/// the parent's thread that has started this process (`PR_SET_PDEATHSIG(2const)`). Not inherited.
pub(crate) fn continue_without_parent() -> io::Result<()> {
    // SAFETY: takes integers.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGCONT as libc::c_ulong) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has the kernel send `signal` to `owner` at the end of the pipe, for as long as the returned descriptor is open.
fn arm(pipe: BorrowedFd<'_>, owner: libc::c_int, signal: libc::c_int) -> io::Result<OwnedFd> {
    // The owner belongs to the open file description, so this process opens one of its own (`proc_pid_fd(5)`).
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let own = rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    set(&own, libc::F_SETOWN, owner)?;
    set(&own, F_SETSIG, signal)?;
    set_signals(&own, true)?;
    Ok(own)
}

fn set_signals(pipe: &OwnedFd, on: bool) -> io::Result<()> {
    let mut flags = rustix::fs::fcntl_getfl(pipe)?;
    flags.set(OFlags::from_bits_retain(libc::O_ASYNC as u32), on);
    rustix::fs::fcntl_setfl(pipe, flags)?;
    Ok(())
}

fn set(fd: &OwnedFd, what: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: takes integers, and the descriptor is open.
    match unsafe { libc::fcntl(fd.as_raw_fd(), what, value) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
