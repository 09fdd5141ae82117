//! Spares: children that are forked before they are asked for.
//!
//! A start would otherwise wait for the fork, and for the child's first page faults. Spares are kept only while
//! children are asked for in quick succession ([`Demand`]). A spare has what a single-task process needs: rings,
//! parent-death pipe, copies of the pages it will write. So the start of such a process is one message, the release. No
//! spares are forked before the release was sent: they would take the processor from the new process.
//!
//! Must stay true: a spare is handed out once; no request waits for a spare; the spares exit with the runtime of their
//! refill task.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::demand::{Demand, QUICK_SUCCESSION};
use super::fork_request::ForkRequest;
use super::link::ParentLink;
use super::pending::ChildIds;
use super::reaper;
use crate::sys::clock::Moment;
use crate::sys::process_mark::ProcessMark;
use crate::sys::procfs::ProcStat;
use crate::sys::{signal, socket, stdio};
use crate::transfer::control::ControlSocket;
use crate::transfer::env_block::EnvBlock;

/// A forked child that waits for its release. Dropping it kills and reaps it.
#[derive(Debug)]
pub(super) struct Spare {
    control: Arc<ControlSocket>,
    /// `None` once it was handed out, and so is `link`.
    ids: Option<ChildIds>,
    /// Belongs to the rings it has in case it becomes a single-task process.
    link: Option<ParentLink>,
    stat: ProcStat,
    parent: ProcessMark,
}

impl Spare {
    pub(super) fn new(control: Arc<ControlSocket>, ids: ChildIds, link: ParentLink) -> Self {
        Self {
            control,
            stat: ProcStat::process(ids.pid),
            ids: Some(ids),
            link: Some(link),
            parent: ProcessMark::here(),
        }
    }

    /// Turns the spare of a fork server whose environment is `known` into the child of the request. `None` if the spare
    /// has ended.
    pub(super) fn convert(
        mut self,
        request: &ForkRequest<'_>,
        known: Option<&EnvBlock>,
    ) -> io::Result<Option<(ChildIds, ParentLink)>> {
        let Some(link) = self.link.take() else {
            return Ok(None);
        };
        match request.convert_spare(&self.control, link, known) {
            Ok(link) => Ok(self.ids.take().map(|ids| (ids, link))),
            Err(error) if socket::is_end(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn state(&self) -> SpareState {
        SpareState::of(self.stat.now())
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        // In a copy of this process the spare belongs to the original.
        if let Some(ids) = self.ids.take().filter(|_| self.parent.is_here()) {
            // By its pidfd if there is one: a program that waits for any child may have reaped it.
            let _ = match &ids.pidfd {
                Some(pidfd) => signal::kill_pidfd(pidfd),
                None => signal::send(ids.pid, libc::SIGKILL),
            };
            reaper::reap(ids.pid);
        }
    }
}

/// What a spare does, as the kernel says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SpareState {
    /// It waits for its release. A process that was killed would be awake to die, so this one was not.
    Waiting,
    /// It gets ready, or it is dying.
    Running,
    /// It has ended or was stopped.
    Unusable,
}

impl SpareState {
    /// By the state in `/proc/PID/stat` (`proc_pid_stat(5)`); `None` if there is no such process.
    fn of(stat: Option<u8>) -> Self {
        match stat {
            Some(b'S') => Self::Waiting,
            Some(b'R' | b'D') => Self::Running,
            _ => Self::Unusable,
        }
    }
}

/// Forks a spare; `None` if that is not possible now.
type ForkSpare = Box<dyn Fn() -> ForkingSpare + Send + Sync>;
pub(super) type ForkingSpare = Pin<Box<dyn Future<Output = Option<Spare>> + Send>>;

/// The spares of one fork server, and the demand for them.
pub(super) struct SparePool {
    state: Mutex<PoolState>,
    /// Wakes the refill task.
    demanded: Notify,
    fork_spare: ForkSpare,
}

#[derive(Debug, Default)]
struct PoolState {
    spares: Vec<Spare>,
    demand: Demand,
    /// Whether the refill task exists.
    has_refill_task: bool,
}

impl SparePool {
    pub(super) fn new(fork_spare: impl Fn() -> ForkingSpare + Send + Sync + 'static) -> Self {
        Self {
            state: Mutex::default(),
            demanded: Notify::new(),
            fork_spare: Box::new(fork_spare),
        }
    }

    /// Counts a request for a child, until the guard is dropped.
    pub(super) fn begin_demand(self: &Arc<Self>) -> DemandGuard {
        self.lock().demand.begin(Moment::now());
        DemandGuard(Arc::clone(self))
    }

    fn is_short(&self) -> bool {
        let state = self.lock();
        state.spares.len() < state.demand.spares_wanted()
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for SparePool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SparePool")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// A request for a child that has none yet.
#[derive(Debug)]
pub(super) struct DemandGuard(Arc<SparePool>);

impl DemandGuard {
    /// Takes a spare that waits, if there is one.
    pub(super) fn take_spare(&self) -> Option<Spare> {
        let mut unusable = Vec::new();
        let mut state = self.0.lock();
        let spares = &mut state.spares;
        let mut found = None;
        for index in (0..spares.len()).rev() {
            match spares[index].state() {
                SpareState::Waiting => {
                    found = Some(spares.swap_remove(index));
                    break;
                }
                SpareState::Running => {}
                SpareState::Unusable => unusable.push(spares.swap_remove(index)),
            }
        }
        // Before the spares in `unusable`: dropping those makes system calls.
        drop(state);
        found
    }

    /// The child exists. Has spares forked, if they are worth it.
    pub(super) fn satisfied(self) {
        let pool = Arc::clone(&self.0);
        drop(self);
        let mut state = pool.lock();
        if !state.demand.wants_spares() {
            return;
        }
        if std::mem::replace(&mut state.has_refill_task, true) {
            return pool.demanded.notify_one();
        }
        drop(state);
        tokio::spawn(RefillTask(pool).run());
    }
}

impl Drop for DemandGuard {
    fn drop(&mut self) {
        self.0.lock().demand.end(Moment::now());
    }
}

/// The task that forks spares. Dropped (children are no longer asked for, or the runtime shuts down), it drops them.
#[derive(Debug)]
struct RefillTask(Arc<SparePool>);

impl RefillTask {
    async fn run(self) {
        loop {
            while self.0.is_short() {
                // Other tasks first: one of them may just have asked for a child.
                tokio::task::yield_now().await;
                // A descriptor of the spare would take the place of a closed standard stream, and the program may put
                // its own over it.
                if !stdio::has_standard_streams() {
                    return;
                }
                let Some(spare) = (self.0.fork_spare)().await else {
                    return; // the next request for a child finds out why
                };
                self.0.lock().spares.push(spare);
            }
            let demanded = self.0.demanded.notified();
            if tokio::time::timeout(QUICK_SUCCESSION, demanded)
                .await
                .is_err()
            {
                return;
            }
        }
    }
}

impl Drop for RefillTask {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.has_refill_task = false;
        let spares = std::mem::take(&mut state.spares);
        // Dropping spares makes system calls.
        drop(state);
        drop(spares);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spare_is_usable_only_while_it_sleeps() {
        assert_eq!(SpareState::of(Some(b'S')), SpareState::Waiting);
        assert_eq!(SpareState::of(Some(b'R')), SpareState::Running);
        assert_eq!(SpareState::of(Some(b'D')), SpareState::Running);
        for stat in [Some(b'Z'), Some(b'T'), Some(b't'), Some(b'X'), None] {
            assert_eq!(SpareState::of(stat), SpareState::Unusable);
        }
    }

    #[tokio::test]
    async fn spares_are_forked_when_quick_demand_is_satisfied() {
        let (forked, mut forks) = tokio::sync::mpsc::unbounded_channel();
        let pool = Arc::new(SparePool::new(move || {
            let _ = forked.send(());
            Box::pin(async { None })
        }));
        for _ in 0..3 {
            pool.begin_demand().satisfied();
        }
        assert!(!pool.lock().has_refill_task);
        // A request that is given up counts, and has no spares forked.
        drop(pool.begin_demand());
        assert!(!pool.lock().has_refill_task);
        pool.begin_demand().satisfied();
        assert!(pool.lock().has_refill_task);
        assert!(forks.recv().await.is_some());
    }
}
