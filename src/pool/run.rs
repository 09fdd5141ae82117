//! One call that is awaited.
//!
//! Runs in the parent, in the task that awaits the call. Must stay true: the call is submitted once, and a dropped
//! `Run` leaves no task behind.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project::{pin_project, pinned_drop};

use super::call_options::{CallOptions, option_setters};
use super::pool_guard::PoolGuard;
use super::task_handle::TaskHandle;
use crate::call::encoded_items::EncodedItems;
use crate::call::single::Awaited;
use crate::error::JoinError;
use crate::schedule::{Priority, TaskKey};

/// A call in one of a pool's workers. Made by [`Pool::run`](crate::Pool::run).
///
/// The call is submitted to the pool when it is first polled, or by [`Run::spawn`]. It resolves to the function's
/// result.
///
/// Dropping it cancels the call: a waiting task is removed; a running task is killed with every process it
/// started, and no other task is affected.
///
/// # Errors
///
/// A [`JoinError`] of any [`kind`](JoinError::kind).
///
/// # Cancel safety
///
/// Dropping it cancels the task. Awaiting `&mut run` in a `select!` that another branch wins loses nothing.
///
/// # Panics
///
/// If it is polled after it has resolved.
///
/// ```
/// use std::time::Duration;
///
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = procession::Pool::with_workers(1)?;
/// let sum = pool
///     .run(|a: u32, b: u32| a + b, (1, 2))
///     .timeout(Duration::from_secs(5))
///     .await?;
/// assert_eq!(sum, 3);
/// # Ok(())
/// # }
/// ```
#[must_use = "a call does nothing until it is awaited or spawned"]
#[pin_project(PinnedDrop)]
pub struct Run<R> {
    guard: Arc<PoolGuard>,
    job: Arc<dyn Awaited<R>>,
    options: CallOptions,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Submitted(TaskKey),
    /// The call has its outcome, or belongs to a [`TaskHandle`]. Nothing is cancelled at the drop.
    Over,
}

impl<R> Run<R> {
    pub(super) fn new(
        guard: &Arc<PoolGuard>,
        job: Arc<dyn Awaited<R>>,
        options: CallOptions,
    ) -> Self {
        Self {
            guard: Arc::clone(guard),
            job,
            options,
            stage: Stage::New,
        }
    }

    option_setters!("the call");

    /// Limits how long the call may run without a sign of life.
    ///
    /// The function gives a sign with [`task::alive`](crate::task::alive). The time counts from the last sign, and at first
    /// from the start of the call, on the application's clock. After the limit the call ends as after its
    /// [`timeout`](Run::timeout), which holds as well. By default there is no such limit.
    pub fn progress_timeout(mut self, limit: Duration) -> Self {
        self.options.progress_timeout = Some(limit);
        self
    }

    /// Submits the call now and returns a handle to its task. Dropping the handle detaches the task.
    pub fn spawn(mut self) -> TaskHandle<R> {
        let key = match self.stage {
            Stage::New => self.submit(),
            Stage::Submitted(key) => Some(key),
            Stage::Over => None,
        };
        self.stage = Stage::Over;
        TaskHandle::new(&self.guard, Arc::clone(&self.job), key)
    }

    /// Hands the call to the pool. `None` if the pool is closed; the call then has its outcome.
    fn submit(&self) -> Option<TaskKey> {
        let job = Arc::clone(&self.job).into_job();
        let options = self.options;
        // Before the lock is taken: it runs the `Serialize` of the arguments.
        let encoded = EncodedItems::of(&*job);
        let shared = &self.guard.shared;
        let key = shared.with(|core| core.submit(job, encoded, options));
        if key.is_none() {
            let error = match shared.is_elsewhere() {
                true => JoinError::elsewhere(self.job.name()),
                false => shared.look(|core| core.refusal(self.job.name())),
            };
            self.job.slot().set(Err(error));
        }
        key
    }
}

impl<R> Future for Run<R> {
    type Output = Result<R, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.stage == Stage::New {
            let key = self.submit();
            *self.as_mut().project().stage = key.map_or(Stage::Over, Stage::Submitted);
        }
        let this = self.project();
        let outcome = this.job.poll_outcome(cx);
        match outcome.is_ready() {
            true => *this.stage = Stage::Over,
            false => this.guard.shared.expect(),
        }
        outcome
    }
}

#[pinned_drop]
impl<R> PinnedDrop for Run<R> {
    fn drop(self: Pin<&mut Self>) {
        let Stage::Submitted(key) = self.stage else {
            return;
        };
        if !self.job.slot().is_set() {
            self.guard.shared.with(|core| core.cancel(key));
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
