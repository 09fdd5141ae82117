//! A call that has begun.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use super::pool_guard::PoolGuard;
use super::shared::Shared;
use crate::abort::{Abort, AbortHandle};
use crate::call::job::Awaited;
use crate::error::JoinError;
use crate::schedule::TaskKey;
use crate::task::TaskId;

/// A task in a pool. Awaiting it gives the function's result. Dropping it detaches: the task goes on
/// while the pool does.
///
/// # Cancel safety
///
/// Cancel safe: awaiting `&mut handle` in a `select!` that another branch wins loses nothing.
#[must_use = "dropping a task's handle detaches it; await it to have its result"]
pub struct TaskHandle<R> {
    front: Arc<PoolGuard>,
    job: Arc<dyn Awaited<R>>,
    key: TaskKey,
}

impl<R> TaskHandle<R> {
    /// `key` is that of a task, or `None` if the pool refused it and it has its outcome.
    pub(super) fn new(
        front: Arc<PoolGuard>,
        job: Arc<dyn Awaited<R>>,
        key: Option<TaskKey>,
    ) -> Self {
        let key = key.unwrap_or(0);
        Self { front, job, key }
    }

    /// Cancels the task: one that waits is removed, one that runs is killed together with all it
    /// started. Awaiting it then gives [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled), unless it
    /// had an outcome before.
    pub fn abort(&self) {
        self.front.shared.with(|core| core.cancel(self.key));
    }

    /// The right to abort it, apart from this handle.
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle::new(Arc::new(TaskAbort {
            shared: Arc::downgrade(&self.front.shared),
            key: self.key,
        }))
    }

    /// Whether awaiting it would give its outcome at once.
    #[doc(alias = "ready")]
    pub fn is_finished(&self) -> bool {
        self.job.slot().is_set()
    }

    /// The task's identity, which it finds in [`current`](crate::current) when it runs.
    pub fn id(&self) -> TaskId {
        TaskId(self.key)
    }
}

impl<R> Future for TaskHandle<R> {
    type Output = Result<R, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.job.slot().poll(cx)
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
    shared: Weak<Shared>,
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
        shared.is_none_or(|shared| shared.look(|core| core.records.get(self.key).is_none()))
    }
}
