//! A call that was submitted, and may be awaited or aborted.
//!
//! Lives in the parent.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use crate::abort::{Abort, AbortHandle};
use crate::call::single::Awaited;
use crate::error::JoinError;
use crate::pool::pool_guard::PoolGuard;
use crate::pool::shared::PoolShared;
use crate::schedule::TaskKey;
use crate::task::TaskId;

/// A task in a pool. Made by [`Pool::spawn`](crate::Pool::spawn) and [`Run::spawn`](crate::Run::spawn).
///
/// Awaiting the handle gives the function's result. The handle keeps the pool alive. Dropping it detaches the
/// task, which then runs for as long as the pool lives.
///
/// # Errors
///
/// A [`JoinError`] of any [`kind`](JoinError::kind).
///
/// # Cancel safety
///
/// Cancel safe: awaiting `&mut handle` in a `select!` that another branch wins loses nothing.
///
/// # Panics
///
/// If it is polled after it has resolved.
#[must_use = "dropping a task's handle detaches it; await it to have its result"]
pub struct TaskHandle<R> {
    guard: Arc<PoolGuard>,
    job: Arc<dyn Awaited<R>>,
    key: TaskKey,
}

impl<R> TaskHandle<R> {
    /// `key` is `None` if the pool refused the call, which then has its outcome.
    pub(in crate::pool) fn new(
        guard: &Arc<PoolGuard>,
        job: Arc<dyn Awaited<R>>,
        key: Option<TaskKey>,
    ) -> Self {
        Self {
            guard: Arc::clone(guard),
            job,
            key: key.unwrap_or(0),
        }
    }

    /// Cancels the task.
    ///
    /// A waiting task is removed; a running task is killed with every process it started, after the pool's
    /// [`cancel_grace`](crate::PoolBuilder::cancel_grace). Awaiting the handle then gives
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled), unless the task already had an outcome.
    pub fn abort(&self) {
        self.guard.shared.with(|core| core.cancel(self.key));
    }

    /// A handle that can abort the task, and that does not keep the pool alive.
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle::new(Arc::new(TaskAbort {
            shared: Arc::downgrade(&self.guard.shared),
            key: self.key,
        }))
    }

    /// Whether awaiting the handle would give the outcome at once.
    #[doc(alias = "ready")]
    pub fn is_finished(&self) -> bool {
        self.job.slot().is_set()
    }

    /// The id of the task. The running task reads the same id from [`current`](crate::current).
    pub fn id(&self) -> TaskId {
        TaskId(self.key)
    }
}

impl<R> Future for TaskHandle<R> {
    type Output = Result<R, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = self.job.poll_outcome(cx);
        if outcome.is_pending() {
            self.guard.shared.expect();
        }
        outcome
    }
}

impl<R> fmt::Debug for TaskHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHandle")
            .field("task", &self.job.name())
            .field("id", &self.id())
            .field("finished", &self.is_finished())
            .finish()
    }
}

struct TaskAbort {
    shared: Weak<PoolShared>,
    key: TaskKey,
}

impl Abort for TaskAbort {
    fn abort(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.with(|core| core.cancel(self.key));
        }
    }

    fn is_finished(&self) -> bool {
        let shared = self.shared.upgrade();
        shared.is_none_or(|shared| shared.read(|core| core.records.get(self.key).is_none()))
    }
}
