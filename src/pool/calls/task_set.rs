//! Tasks that belong together, awaited in the order in which they end.
//!
//! Runs in the parent. Must stay true: a dropped set leaves no task behind.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::run::Run;
use super::task_handle::TaskHandle;
use crate::abort::AbortHandle;
use crate::error::JoinError;
use crate::pool::pool::Pool;
use crate::pool::pool_guard::PoolGuard;
use crate::task::Task;

/// A set of tasks in a pool, whose outcomes are awaited as the tasks end.
///
/// It is what tokio's `JoinSet` is for tasks of a runtime. All tasks have the result type `R`; the functions may
/// differ. The set keeps the pool alive. Dropping it aborts every task that has no outcome.
///
/// [`Pool::shutdown`](crate::Pool::shutdown) waits for the tasks of a set, as for all others. A task that is retried
/// stays one task of the set.
///
/// ```
/// use procession::{Pool, TaskSet};
///
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::with_workers(2)?;
/// let mut squares = TaskSet::new(&pool);
/// for n in 0..4_u64 {
///     squares.spawn(|n: u64| n * n, n);
/// }
/// let mut sum = 0;
/// while let Some(square) = squares.join_next().await {
///     sum += square?;
/// }
/// assert_eq!(sum, 14);
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping a set aborts its tasks"]
#[doc(alias = "as_completed")]
#[doc(alias = "wait")]
pub struct TaskSet<R> {
    guard: Arc<PoolGuard>,
    tasks: FuturesUnordered<TaskHandle<R>>,
}

impl<R> TaskSet<R> {
    /// Makes an empty set of tasks in `pool`.
    pub fn new(pool: &Pool) -> Self {
        Self {
            guard: Arc::clone(&pool.guard),
            tasks: FuturesUnordered::new(),
        }
    }

    /// Submits a call of `f` with `args` at once, with the pool's options. See [`Pool::spawn`].
    pub fn spawn<F, M, A>(&mut self, f: F, args: A) -> AbortHandle
    where
        R: Send + 'static,
        F: Task<M, A, Output = R>,
    {
        let pool = Pool {
            guard: Arc::clone(&self.guard),
        };
        self.spawn_run(pool.run(f, args))
    }

    /// Submits a call at once, with its own options. The call may be of another pool.
    ///
    /// ```
    /// # use procession::{Pool, TaskSet};
    /// # async fn f(pool: Pool) {
    /// let mut set = TaskSet::new(&pool);
    /// set.spawn_run(pool.run(|n: u32| n + 1, 1).timeout(std::time::Duration::from_secs(1)));
    /// # }
    /// # fn main() {}
    /// ```
    pub fn spawn_run(&mut self, run: Run<R>) -> AbortHandle
    where
        R: Send + 'static,
    {
        let handle = run.spawn();
        let abort = handle.abort_handle();
        self.tasks.push(handle);
        abort
    }

    /// Waits for the next task that ends, and removes it. `None` if the set is empty.
    ///
    /// # Errors
    ///
    /// That of the task: a [`JoinError`] of any [`kind`](JoinError::kind).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future removes no task.
    pub fn join_next(
        &mut self,
    ) -> impl Future<Output = Option<Result<R, JoinError>>> + Send + Unpin + use<'_, R>
    where
        R: Send,
    {
        self.tasks.next()
    }

    /// Aborts every task, as [`TaskHandle::abort`] does. Their outcomes are still in the set.
    pub fn abort_all(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }

    /// How many tasks are in the set: those whose outcome was not taken.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Aborts every task and waits until all have ended. Their outcomes are dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the tasks are aborted at the first poll. Call this again to wait again.
    pub fn shutdown(&mut self) -> impl Future<Output = ()> + Send + Unpin + use<'_, R>
    where
        R: Send,
    {
        let mut is_aborted = false;
        poll_fn(move |cx| {
            if !std::mem::replace(&mut is_aborted, true) {
                self.abort_all();
            }
            while ready!(self.tasks.poll_next_unpin(cx)).is_some() {}
            Poll::Ready(())
        })
    }
}

impl<R> Drop for TaskSet<R> {
    fn drop(&mut self) {
        self.abort_all();
    }
}

impl<R> fmt::Debug for TaskSet<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskSet")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
