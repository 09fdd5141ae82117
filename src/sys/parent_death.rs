//! What kills a process when its parent has ended, though its one thread is busy with something else.
//!
//! A pipe into which nobody ever writes, and whose writing end is the parent's alone. A child opens the
//! reading end for itself and has the kernel send a signal to its group at the end of the pipe (`fcntl(2)`, `F_SETOWN`,
//! `F_SETSIG`, `O_ASYNC`). `SIGKILL`: nothing that a task does with signals keeps it off, and it ends who is stopped.
//!
//! Not the control socket: the signal for a message is sent after the message can be received (`unix_dgram_sendmsg` in the
//! kernel's `net/unix/af_unix.c`), so the last one could kill whoever has received it and then asks for signals.
//!
//! # Safety
//!
//! Only calls that take integers, about descriptors that are open.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;

/// Which signal tells of an event (`fcntl(2)`; `asm-generic/fcntl.h`).
const F_SETSIG: libc::c_int = 10;

/// Dropped by all who hold it, or by the end of this process, it ends those who are tied to it.
#[derive(Debug)]
pub(crate) struct ParentDeathPipe {
    reading: OwnedFd,
    _writing: OwnedFd,
}

/// One is enough for all children that live until this process ends, and there is none where there are no children.
static PARENT_DEATH_PIPE: Mutex<Weak<ParentDeathPipe>> = Mutex::new(Weak::new());

impl ParentDeathPipe {
    /// That of this process.
    pub(crate) fn of_this_process() -> io::Result<Arc<Self>> {
        let mut known = PARENT_DEATH_PIPE
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(parent_death) = known.upgrade() {
            return Ok(parent_death);
        }
        let parent_death = Self::new()?;
        *known = Arc::downgrade(&parent_death);
        Ok(parent_death)
    }

    /// One of its own, for a child that is to end before this process may.
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        let (reading, writing) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        // Not where a standard stream belongs, which the program may put there yet: that would be the end of all.
        Ok(Arc::new(Self {
            reading: rustix::io::fcntl_dupfd_cloexec(reading, 3)?,
            _writing: rustix::io::fcntl_dupfd_cloexec(writing, 3)?,
        }))
    }
}

/// What a child is given.
impl AsFd for ParentDeathPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reading.as_fd()
    }
}

/// For as long as it lives, the end of the parent kills this process and its group.
#[derive(Debug)]
pub(crate) struct ParentDeathSignal(Option<OwnedFd>);

impl ParentDeathSignal {
    /// Ties this process to the leash whose reading end this is, or kills its group: there is nobody any more.
    pub(crate) fn new(parent_death: impl AsFd) -> io::Result<Self> {
        // An open pipe of this process's own (`proc_pid_fd(5)`): whom it tells belongs to that.
        let path = format!("/proc/self/fd/{}", parent_death.as_fd().as_raw_fd());
        let own = rustix::fs::open(
            path,
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        // SAFETY: takes and returns integers.
        let group = unsafe { libc::getpgrp() };
        set(&own, libc::F_SETOWN, -group)?;
        set(&own, F_SETSIG, libc::SIGKILL)?;
        set_signals(&own, true)?;
        // An end that came before is not told of.
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

    /// Keeps it until the end of this process, which closes it.
    pub(crate) fn keep(mut self) {
        let _ = self.0.take().map(IntoRawFd::into_raw_fd);
    }
}

impl Drop for ParentDeathSignal {
    fn drop(&mut self) {
        if let Some(own) = &self.0 {
            // Also for those who were forked meanwhile and hold it too. It cannot fail: it is open.
            let _ = set_signals(own, false);
        }
    }
}

fn set_signals(pipe: &OwnedFd, on: bool) -> io::Result<()> {
    let mut flags = rustix::fs::fcntl_getfl(pipe)?;
    flags.set(OFlags::from_bits_retain(libc::O_ASYNC as u32), on);
    rustix::fs::fcntl_setfl(pipe, flags)?;
    Ok(())
}

fn set(fd: &OwnedFd, what: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: integers only, about a descriptor that is open.
    match unsafe { libc::fcntl(fd.as_raw_fd(), what, value) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
