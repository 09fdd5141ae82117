//! Owning an unreaped child: signalling it, waiting for its end, reaping it.
//!
//! Must stay true: a pid is signalled only under the lock under which the child is reaped.

use std::io;
use std::mem::ManuallyDrop;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::link::Ties;
use super::spec::ChildSpec;
use super::tree_kill::{StoppedChild, kill_group_members, reap_left};
use super::{child_watch, reaper, registry};
use crate::own_runtime;
use crate::sys::cgroup::ChildCgroup;
use crate::sys::crash_handler::CRASH_SIGNALS;
use crate::sys::exit_cause::ExitCause;
use crate::sys::process_mark::{ProcessMark, is_copy};
use crate::sys::process_tree::may_have_children;
use crate::sys::reactor::Watched;
use crate::sys::signal;
use crate::threads;

/// Signals a child for as long as the pid is the child's.
#[derive(Debug)]
pub(crate) struct SignalHandle {
    pid: u32,
    /// Locked while the child is signalled and while it is reaped, so that no other process with the same pid is
    /// signalled.
    reaped: Mutex<bool>,
    /// The process whose child it is. A copy of this process may neither signal it nor wait for it.
    parent: ProcessMark,
    /// The control group of the child and all that it has started.
    group: Option<Arc<ChildCgroup>>,
}

impl SignalHandle {
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends `signal` to the child alone. Does nothing if the child was reaped.
    pub(crate) fn signal(&self, signal: i32) {
        if !self.parent.is_here() {
            return;
        }
        let reaped = self.lock();
        if !*reaped {
            let _ = signal::send(self.pid, signal);
        }
    }

    /// Kills the child and all that it has started. Does nothing if the child was reaped. If it has children, it is
    /// stopped now, and killed on another thread a moment later.
    pub(crate) fn kill(self: &Arc<Self>) {
        if !self.parent.is_here() {
            return;
        }
        let reaped = self.lock();
        if *reaped {
            return;
        }
        if let Some(group) = &self.group {
            signal::kill_group(self.pid);
            return kill_group_members(Arc::clone(group));
        }
        if !may_have_children(self.pid) {
            return signal::kill_group(self.pid);
        }
        let stopped = StoppedChild::stop(self.pid);
        drop(reaped);
        let handle = Arc::clone(self);
        stopped.kill_below_then(move || {
            let reaped = handle.lock();
            if !*reaped {
                signal::kill_group(handle.pid);
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.reaped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often a child is asked for that has ended, and whose tracer has not taken note of it.
const REAP_INTERVAL: Duration = Duration::from_millis(1);

/// How a child ended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ChildEnd {
    /// `None` if other code of this program has taken it.
    pub(crate) status: Option<ExitStatus>,
    /// Why the parent has ended it.
    pub(crate) cause: Option<ExitCause>,
}

impl ChildEnd {
    /// Whether it was ended by a signal of a crash.
    pub(crate) fn has_crashed(&self) -> bool {
        let signal = self.status.and_then(|status| status.signal());
        signal.is_some_and(|signal| CRASH_SIGNALS.contains(&signal))
    }
}

/// An unreaped child. Dropping it kills the child with its group, unless the child is detached, and has it reaped in
/// the background.
#[derive(Debug)]
pub(crate) struct ChildGuard {
    origin: Origin,
    signal_handle: Arc<SignalHandle>,
    /// Whether the child's group is killed also when the child exits by itself with status 0.
    kill_group_on_success: bool,
    kill_on_drop: bool,
}

/// How the child was started, and so who reaps it.
#[derive(Debug)]
enum Origin {
    /// By async-process, which reaps it.
    Executed(async_process::Child),
    /// By a fork server. This process reaps it.
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
                parent: ProcessMark::here(),
                group: spec.cgroup.as_ref().map(|it| Arc::clone(&it.group)),
            }),
            kill_group_on_success: true,
            kill_on_drop: !spec.detached,
        }
    }

    pub(super) fn is_forked(&self) -> bool {
        matches!(self.origin, Origin::Forked)
    }

    pub(crate) fn signal_handle(&self) -> Arc<SignalHandle> {
        Arc::clone(&self.signal_handle)
    }

    /// Leaves the processes that the child has started alone if the child exits with status 0.
    pub(crate) fn leave_group_on_success(mut self) -> Self {
        self.kill_group_on_success = false;
        self
    }

    /// Waits for the child's end, kills its group, and reaps the child. A child that will give no outcome is killed,
    /// unless it is detached.
    ///
    /// `pidfd` is the child's, and `ties` are what it shares with its parent.
    ///
    /// # Errors
    ///
    /// The runtime is shutting down.
    pub(crate) async fn wait(mut self, pidfd: Watched, ties: Ties) -> io::Result<ChildEnd> {
        let pid = self.signal_handle.pid;
        let checks = !self.kill_group_on_success;
        let cause = match self.kill_on_drop {
            true => child_watch::end_or_cause(pid, &pidfd, ties, checks).await?,
            false => None,
        };
        if cause.is_some() {
            self.signal_handle.kill();
        }
        pidfd.readable().await?;
        loop {
            if let Some(status) = self.try_reap() {
                self.end_group().await;
                return Ok(ChildEnd { status, cause });
            }
            // The pidfd is readable before the child can be reaped, if a debugger traces the child: until the debugger
            // has taken note of the end (`ptrace(2)`).
            own_runtime::timeout(REAP_INTERVAL, std::future::pending::<()>()).await;
        }
    }

    /// Kills what the child, which was reaped, has left in its control group.
    async fn end_group(&self) {
        if let Some(group) = self.signal_handle.group.clone() {
            // It has no outcome, and cannot panic.
            let _ = threads::run(move || group.end()).await;
        }
    }

    /// Waits until the child, which was killed, can be reaped, without being told of its end.
    pub(crate) async fn reap_killed(&mut self) {
        while self.try_reap().is_none() {
            own_runtime::timeout(REAP_INTERVAL, std::future::pending::<()>()).await;
        }
    }

    /// Kills the child's group and reaps the child, if the child has ended. The inner `None` means that other code of
    /// this program has taken the exit status.
    pub(crate) fn try_reap(&mut self) -> Option<Option<ExitStatus>> {
        if !self.signal_handle.parent.is_here() {
            return Some(None);
        }
        let mut reaped = self.signal_handle.lock();
        let pid = self.signal_handle.pid;
        // An error means that other code has reaped the child, so the pid may be another process's.
        let succeeded = match signal::peek_exit(pid) {
            Ok(None) => return None,
            ended => ended.ok().flatten(),
        };
        let kills_group =
            succeeded.is_some_and(|succeeded| self.kill_group_on_success || !succeeded);
        if kills_group {
            // The unreaped child still holds the pid, so this is its group.
            let _ = signal::send_to_group(pid, libc::SIGKILL);
        }
        let status = match &mut self.origin {
            Origin::Executed(child) => child.try_status(),
            Origin::Forked => signal::try_reap(pid),
        };
        if matches!(status, Ok(None)) {
            return None;
        }
        *reaped = true;
        registry::remove(pid);
        if kills_group {
            reap_left(pid);
        }
        Some(status.ok().flatten())
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        if !self.signal_handle.parent.is_here() {
            return leave(std::mem::replace(&mut self.origin, Origin::Forked));
        }
        let pid = self.signal_handle.pid;
        let mut reaped = self.signal_handle.lock();
        if *reaped {
            return;
        }
        // From here on async-process or the reaper may reap it at any time.
        *reaped = true;
        registry::remove(pid);
        let origin = std::mem::replace(&mut self.origin, Origin::Forked);
        // A control group is killed and removed when its last handle is dropped, with this guard.
        let needs_search = self.signal_handle.group.is_none() && may_have_children(pid);
        match (origin, self.kill_on_drop) {
            (origin, true) if needs_search => {
                // Kept until the child was killed: dropped, an executed child may be reaped.
                StoppedChild::stop(pid).kill_below_then(move || kill_and_reap(pid, origin));
            }
            (origin, true) => kill_and_reap(pid, origin),
            (Origin::Forked, false) => reaper::reap_on_own_thread(pid),
            (Origin::Executed(_), false) => {}
        }
    }
}

/// Kills the unreaped child `pid` with its group, and has it reaped in the background.
fn kill_and_reap(pid: u32, origin: Origin) {
    signal::kill_group(pid);
    match origin {
        Origin::Executed(child) if !is_copy() => drop(child),
        // In a copy the thread is missing on which async-process reaps.
        origin => {
            leave(origin);
            reaper::reap(pid);
        }
    }
}

/// Does nothing with a child: also async-process does not reap it.
fn leave(origin: Origin) {
    let _ = ManuallyDrop::new(origin);
}
