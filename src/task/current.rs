//! What the code that runs can learn about where it runs.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// The identity of a task, unique within its pool for as long as the program runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TaskId(pub(crate) u64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who this process is, if it is a child of this crate.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) name: Option<String>,
    pub(crate) parent: u32,
    pub(crate) pool: Option<String>,
    pub(crate) number: Option<usize>,
}

static IDENTITY: OnceLock<Identity> = OnceLock::new();
static RUNNING: AtomicU64 = AtomicU64::new(0);
static CANCELLED: AtomicU64 = AtomicU64::new(0);
static CANCELLATION: Notify = Notify::const_new();

/// Says who this process is. Once, before any task.
pub(crate) fn be(identity: Identity) {
    let _ = IDENTITY.set(identity);
}

/// Who this process is; `None` in a process that this crate did not start.
pub(crate) fn identity() -> Option<&'static Identity> {
    IDENTITY.get()
}

/// Says which task this process runs from now on.
#[inline]
pub(crate) fn enter_task(task: u64) {
    RUNNING.store(task, Ordering::Release);
}

/// Asks the task `task`, if it is the one that runs, to stop by itself.
pub(crate) fn cancel_current(task: u64) {
    CANCELLED.store(task, Ordering::Release);
    CANCELLATION.notify_waiters();
}

/// Resolves when the task in which it is awaited should stop by itself.
///
/// A cancelled or timed-out task is killed after its pool's `cancel_grace`; in between, this future is
/// ready. Outside a task it is pending for ever.
///
/// # Cancel safety
///
/// Cancel safe: dropping it loses nothing.
pub async fn cancelled() {
    loop {
        let notified = CANCELLATION.notified();
        if is_cancelled() {
            return;
        }
        notified.await;
    }
}

/// Whether the task that runs in this process should stop by itself. Always false outside a task.
pub fn is_cancelled() -> bool {
    let running = RUNNING.load(Ordering::Acquire);
    running != 0 && CANCELLED.load(Ordering::Acquire) == running
}

/// Where the calling code runs: see [`current`].
#[derive(Debug, Clone)]
pub struct CurrentProcess {
    identity: Option<&'static Identity>,
    task: Option<TaskId>,
}

/// What this process is to the crate: a child and which, or the application itself.
#[doc(alias = "current_process")]
#[doc(alias = "parent_process")]
pub fn current() -> CurrentProcess {
    let running = RUNNING.load(Ordering::Acquire);
    CurrentProcess {
        identity: identity(),
        task: (running != 0).then_some(TaskId(running)),
    }
}

impl CurrentProcess {
    /// Whether this crate started this process.
    pub fn is_child(&self) -> bool {
        self.identity.is_some()
    }

    /// The name this process was given.
    pub fn name(&self) -> Option<&str> {
        self.identity?.name.as_deref()
    }

    /// The process that started this one.
    pub fn parent_pid(&self) -> Option<u32> {
        Some(self.identity?.parent)
    }

    /// Which worker of its pool this is, from 0.
    pub fn worker_number(&self) -> Option<usize> {
        self.identity?.number
    }

    /// The name of the pool this process works for.
    pub fn pool_name(&self) -> Option<&str> {
        self.identity?.pool.as_deref()
    }

    /// The task that runs.
    pub fn task_id(&self) -> Option<TaskId> {
        self.task
    }
}
