//! Ending a child, and learning that it has ended.

use std::io;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::launch::ChildSpec;
use super::{reaper, registry};
use crate::sys::reactor::Watched;
use crate::sys::signal;

/// The right to signal a child for as long as its number is its own.
#[derive(Debug)]
pub(crate) struct SignalHandle {
    pid: u32,
    // Held while signalling and while reaping, so that a number that was given to another process
    // is never signalled.
    reaped: Mutex<bool>,
}

impl SignalHandle {
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends `signal` to the child alone. Does nothing if it is gone.
    pub(crate) fn signal(&self, signal: i32) {
        let reaped = self.lock();
        if !*reaped {
            let _ = signal::send(self.pid, signal);
        }
    }

    /// Kills the child and everything in its group. Does nothing if it is gone.
    pub(crate) fn kill(&self) {
        let reaped = self.lock();
        if !*reaped {
            kill_tree(self.pid);
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.reaped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kill_tree(pid: u32) {
    let _ = signal::send_to_group(pid, libc::SIGKILL);
    // A child that has not reached its own group yet is in none that may be killed.
    let _ = signal::send(pid, libc::SIGKILL);
}

/// A child that nobody has reaped yet. Dropping it kills the child, unless that is to live on; it is reaped
/// in the background.
#[derive(Debug)]
pub(crate) struct ChildGuard {
    origin: Origin,
    signal_handle: Arc<SignalHandle>,
    /// Whether what the child started goes with it when it ends by itself.
    takes_group: bool,
    /// Whether it goes on when nobody waits for it any more.
    detached: bool,
}

/// Who reaps it.
#[derive(Debug)]
enum Origin {
    /// The library that executed it.
    Executed(async_process::Child),
    /// This crate, whose fork server made it.
    Forked,
}

impl ChildGuard {
    pub(super) fn executed(child: async_process::Child, spec: &ChildSpec) -> Self {
        let pid = child.id();
        Self::new(pid, Origin::Executed(child), spec)
    }

    pub(super) fn forked(pid: u32, spec: &ChildSpec) -> Self {
        Self::new(pid, Origin::Forked, spec)
    }

    fn new(pid: u32, origin: Origin, spec: &ChildSpec) -> Self {
        registry::add(pid, spec.name.clone());
        Self {
            origin,
            signal_handle: Arc::new(SignalHandle {
                pid,
                reaped: Mutex::new(false),
            }),
            takes_group: true,
            detached: spec.detached,
        }
    }

    /// Whether a fork server made it.
    pub(super) fn is_forked(&self) -> bool {
        matches!(self.origin, Origin::Forked)
    }

    pub(crate) fn signal_handle(&self) -> Arc<SignalHandle> {
        Arc::clone(&self.signal_handle)
    }

    /// Lets what the child started live on when the child exits, unless a signal ends it.
    pub(crate) fn leave_group_on_exit(mut self) -> Self {
        self.takes_group = false;
        self
    }

    /// Waits for the child's end, kills what it left of its group, and reaps it. `None` if somebody else in this
    /// program has taken the child's status.
    ///
    /// `pidfd` is the child's, registered with the runtime.
    ///
    /// # Errors
    ///
    /// The runtime is shutting down.
    pub(crate) async fn end(mut self, pidfd: Watched) -> io::Result<Option<ExitStatus>> {
        pidfd.readable().await?;
        loop {
            if let Some(status) = self.try_reap() {
                return Ok(status);
            }
            // Readable a moment before it can be waited for: not seen on Linux, but allowed.
            tokio::task::yield_now().await;
        }
    }

    /// If the child has ended: kills what it left of its group and reaps it. The status, or `None` within if somebody
    /// else has taken it.
    pub(crate) fn try_reap(&mut self) -> Option<Option<ExitStatus>> {
        let mut reaped = self.signal_handle.lock();
        // An error is the word that somebody else has reaped it: its number is not its own any more.
        let success = match signal::peek_exit(self.signal_handle.pid) {
            Ok(None) => return None,
            ended => ended.ok().flatten(),
        };
        if success.is_some_and(|success| self.takes_group || !success) {
            // The ended child still pins its number, so this cannot hit another group.
            let _ = signal::send_to_group(self.signal_handle.pid, libc::SIGKILL);
        }
        let status = match &mut self.origin {
            Origin::Executed(child) => child.try_status(),
            Origin::Forked => signal::try_reap(self.signal_handle.pid),
        };
        if matches!(status, Ok(None)) {
            return None;
        }
        *reaped = true;
        registry::remove(self.signal_handle.pid);
        Some(status.ok().flatten())
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        let mut reaped = self.signal_handle.lock();
        if !*reaped {
            if !self.detached {
                kill_tree(self.signal_handle.pid);
            }
            // From here on async-process reaps it whenever it ends, or the reaper does.
            *reaped = true;
            if let Origin::Forked = self.origin {
                match self.detached {
                    true => reaper::reap_alone(self.signal_handle.pid),
                    false => reaper::reap(self.signal_handle.pid),
                }
            }
            registry::remove(self.signal_handle.pid);
        }
    }
}
