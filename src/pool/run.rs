//! One call that has not begun, with what may be said about it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::pool_guard::PoolGuard;
use super::records::Options;
use super::task_handle::TaskHandle;
use crate::call::job::Awaited;
use crate::error::{ErrorKind, JoinError};
use crate::schedule::{Priority, TaskKey};

/// A call in one of a pool's workers. It begins when it is first awaited, or by [`Run::spawn`].
///
/// Dropping it cancels: a task that waits is removed, one that runs is killed together with all it
/// started, and no other task notices.
///
/// # Cancel safety
///
/// Dropping it cancels the task. Awaiting `&mut run` in a `select!` that another branch wins loses nothing.
#[must_use = "a call does nothing until it is awaited or spawned"]
pub struct Run<R> {
    front: Arc<PoolGuard>,
    job: Arc<dyn Awaited<R>>,
    options: Options,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Submitted(TaskKey),
    Over,
}

impl<R> Run<R> {
    pub(super) fn new(front: Arc<PoolGuard>, job: Arc<dyn Awaited<R>>, options: Options) -> Self {
        Self {
            front,
            job,
            options,
            stage: Stage::New,
        }
    }

    /// How long it may take, counted from the moment a worker starts it.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.options.timeout = Some(limit);
        self
    }

    /// How often it is run again if its worker crashes or exits while it runs.
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.retries = retries;
        self
    }

    /// Whether it goes before or after others that wait.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.options.priority = priority;
        self
    }

    /// Begins it now. Dropping the handle detaches.
    pub fn spawn(mut self) -> TaskHandle<R> {
        let key = match self.stage {
            Stage::New => self.submit(),
            Stage::Submitted(key) => Some(key),
            Stage::Over => None,
        };
        self.stage = Stage::Over;
        TaskHandle::new(Arc::clone(&self.front), Arc::clone(&self.job), key)
    }

    fn submit(&self) -> Option<TaskKey> {
        let job = Arc::clone(&self.job).into_job();
        let options = self.options;
        let key = self.front.shared.with(|core| core.submit(job, options));
        if key.is_none() {
            let error = JoinError::new(ErrorKind::Closed, self.job.name());
            self.job.slot().set(Err(error));
        }
        key
    }
}

impl<R> Future for Run<R> {
    type Output = Result<R, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.stage == Stage::New {
            self.stage = match self.submit() {
                Some(key) => Stage::Submitted(key),
                None => Stage::Over,
            };
        }
        let outcome = self.job.slot().poll(cx);
        if outcome.is_ready() {
            self.stage = Stage::Over;
        }
        outcome
    }
}

impl<R> Drop for Run<R> {
    fn drop(&mut self) {
        let Stage::Submitted(key) = self.stage else {
            return;
        };
        if !self.job.slot().is_set() {
            self.front.shared.with(|core| core.cancel(key));
        }
    }
}

impl<R> fmt::Debug for Run<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("task", &self.job.name())
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
