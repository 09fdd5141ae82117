//! The identity of this process, and the task that it runs.
//!
//! Runs in the child; in the application the same functions say that it is no child.

use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use super::running;

/// The id of a task. No other task of the same pool has it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TaskId(pub(crate) u64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of a child process.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) name: Option<String>,
    pub(crate) parent: u32,
    pub(crate) pool: Option<String>,
    pub(crate) number: Option<usize>,
    /// That of the pool.
    pub(crate) seed: Option<u64>,
    /// Where its directory will be.
    pub(crate) scratch: Option<PathBuf>,
}

static IDENTITY: OnceLock<Identity> = OnceLock::new();

/// Sets the identity of this process. Called once, before any task.
pub(crate) fn set_identity(identity: Identity) {
    let _ = IDENTITY.set(identity);
}

/// The identity of this process; `None` in a process that this crate did not start.
pub(crate) fn identity() -> Option<&'static Identity> {
    IDENTITY.get()
}

/// Records which task this thread runs from now on, and the number of its request; in a process with one lane, which
/// task the process runs.
#[inline]
pub(crate) fn enter_task(task: u64, request: u64) {
    let running = running::current();
    running.request.store(request, Ordering::Release);
    running.id.store(task, Ordering::Release);
}

/// Asks the task of this request to stop, if the lane with this index runs it. A later try of the same task is not
/// asked.
pub(crate) fn cancel_current(request: u64, lane: usize) {
    let running = running::of_lane(lane);
    running.cancelled.store(request, Ordering::Release);
    running.cancellation.notify_waiters();
}

/// Resolves when the task that awaits it should stop.
///
/// That is when the task is cancelled or its time limit is over. The task is killed after the pool's
/// [`cancel_grace`](crate::PoolBuilder::cancel_grace). Outside a task the future never resolves.
///
/// # Cancel safety
///
/// Cancel safe: dropping it loses nothing.
///
/// ```
/// use std::time::Duration;
///
/// async fn work() {
///     tokio::select! {
///         () = procession::task::cancelled() => println!("stopped; tidy up here"),
///         () = tokio::time::sleep(Duration::from_secs(60)) => println!("done"),
///     }
/// }
///
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = procession::Pool::builder()
///     .workers(1)
///     .cancel_grace(Duration::from_secs(1))
///     .build()?;
/// let error = pool.run(work, ()).timeout(Duration::from_millis(50)).await.unwrap_err();
/// assert!(error.is_timed_out());
/// # Ok(())
/// # }
/// ```
pub async fn cancelled() {
    let running = running::current();
    loop {
        let notified = running.cancellation.notified();
        if running.is_cancelled() {
            return;
        }
        notified.await;
    }
}

/// Whether the task that runs in this process should stop. Always false outside a task.
///
/// See [`cancelled`].
pub fn is_cancelled() -> bool {
    running::current().is_cancelled()
}

/// The identity of the current process. Made by [`current`].
#[derive(Debug, Clone)]
pub struct CurrentProcess {
    identity: Option<&'static Identity>,
    task: Option<TaskId>,
}

/// Returns the identity of the current process: which child it is, or that it is the application.
///
/// ```
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// assert!(!procession::current().is_child());
/// let pool = procession::Pool::builder().workers(1).name("thumbs").build()?;
/// let name = pool.run(|| procession::current().name().map(str::to_owned), ()).await?;
/// assert_eq!(name.as_deref(), Some("thumbs/0"));
/// # Ok(())
/// # }
/// ```
#[doc(alias = "current_process")]
#[doc(alias = "parent_process")]
pub fn current() -> CurrentProcess {
    let running = running::current().id.load(Ordering::Acquire);
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

    /// The name of this process, if it is a child.
    pub fn name(&self) -> Option<&str> {
        self.identity?.name.as_deref()
    }

    /// The id of the process that started this one, if it is a child.
    pub fn parent_pid(&self) -> Option<u32> {
        Some(self.identity?.parent)
    }

    /// The number of this worker in its pool, counted from 0. `None` if this process is not a worker.
    pub fn worker_number(&self) -> Option<usize> {
        self.identity?.number
    }

    /// The name of this worker's pool. `None` if this process is not a worker or its pool has no name.
    pub fn pool_name(&self) -> Option<&str> {
        self.identity?.pool.as_deref()
    }

    /// The id of the task that this process runs, if it runs one.
    pub fn task_id(&self) -> Option<TaskId> {
        self.task
    }
}
