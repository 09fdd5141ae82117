//! One call in every worker.
//!
//! Runs in the parent. Each worker has a call of its own, pinned to the worker's number.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::future::{JoinAll, join_all};

use super::run::Run;
use crate::call::Slot;
use crate::call::common_arguments::CommonArguments;
use crate::call::job::Job;
use crate::call::single::{Awaited, OneCall, TryWith};
use crate::error::JoinError;
use crate::pool::decisions::core::Core;
use crate::pool::decisions::target::Target;
use crate::pool::options::call_options::CallOptions;
use crate::pool::pool::Pool;
use crate::pool::pool_guard::PoolGuard;
use crate::task::{Call, Task};

/// Calls a function in every worker of a pool. Made by [`Pool::broadcast`].
///
/// # Errors
///
/// The first failure, in the order of the workers' numbers. It resolves when all calls have ended, also then.
///
/// # Cancel safety
///
/// Dropping it cancels the calls that have not ended: running calls are killed with their workers. Awaiting `&mut
/// future` in a `select!` that another branch wins loses nothing.
///
/// # Panics
///
/// If it is polled after it has resolved.
#[must_use = "a broadcast does nothing until it is awaited"]
pub struct Broadcast<R> {
    guard: Arc<PoolGuard>,
    name: &'static str,
    stage: BroadcastStage<R>,
}

/// Makes the call of one worker.
type MakeBroadcastCall<R> = Box<dyn FnMut() -> Arc<dyn Awaited<Option<R>>> + Send>;

enum BroadcastStage<R> {
    New(MakeBroadcastCall<R>),
    Running(JoinAll<Run<Option<R>>>),
    Over,
}

impl Pool {
    /// Runs `f` with `args` once in every worker that there is now.
    ///
    /// A busy or leased worker runs it after the task that it has, before all tasks that wait. A worker that is being
    /// started runs it before its first task. The results are in the order of the workers' numbers. If a worker ends
    /// before it has begun, the worker that replaces it runs the call; if none does, because the pool has shrunk, there
    /// is no result of it. A worker that crashes while it runs `f` is an error:
    /// [`retries`](crate::PoolBuilder::retries) does not apply. The pool's
    /// [`task_timeout`](crate::PoolBuilder::task_timeout) does. The calls need no place in a full queue, and no
    /// [`queue_timeout`](crate::PoolBuilder::queue_timeout) applies.
    ///
    /// The calls are submitted when the future is first polled. A pool that is closed later finishes them.
    ///
    /// The arguments are encoded once for each worker. An end of a pipe among them arrives in one worker only, and the
    /// others fail with [`ErrorKind::Decode`](crate::ErrorKind::Decode).
    ///
    /// ```
    /// # #[procession::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = procession::Pool::with_workers(3)?;
    /// let pids = pool.broadcast(std::process::id, ()).await?;
    /// assert_eq!(pids.len(), 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn broadcast<F, M, A>(&self, f: F, args: A) -> Broadcast<F::Output>
    where
        F: Task<M, A>,
    {
        let _ = f; // has no bytes: its type is the function
        let arguments = CommonArguments::new(F::arguments(args));
        Broadcast {
            guard: Arc::clone(&self.guard),
            name: F::Call::name(),
            stage: BroadcastStage::New(Box::new(move || {
                Arc::new(BroadcastCall::<F::Call> {
                    arguments: arguments.clone(),
                    slot: Slot::new(),
                })
            })),
        }
    }
}

impl<R> Broadcast<R> {
    fn start(&mut self) {
        let mut make = match std::mem::replace(&mut self.stage, BroadcastStage::Over) {
            BroadcastStage::New(make) => make,
            other => return self.stage = other,
        };
        let numbers = self.guard.shared.read(Core::worker_numbers);
        let runs = numbers.into_iter().map(|number| {
            let options = CallOptions {
                target: Some(Target::Number(number)),
                retries: 0,
                // It has a place at its worker, and waits for no other task than the running task.
                queue_timeout: None,
                ..self.guard.shared.settings.defaults()
            };
            Run::new(&self.guard, make(), options.into())
        });
        self.stage = BroadcastStage::Running(join_all(runs));
    }
}

impl<R> Future for Broadcast<R> {
    type Output = Result<Vec<R>, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.start();
        let outcomes = match &mut self.stage {
            BroadcastStage::Running(all) => ready!(Pin::new(all).poll(cx)),
            _ => panic!("a broadcast was polled after it had given its results"),
        };
        self.stage = BroadcastStage::Over;
        Poll::Ready(outcomes.into_iter().filter_map(Result::transpose).collect())
    }
}

impl<R> Unpin for Broadcast<R> {}

impl<R> fmt::Debug for Broadcast<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcast")
            .field("task", &self.name)
            .finish_non_exhaustive()
    }
}

/// The call in one worker. It has no result if the worker is gone.
struct BroadcastCall<C: Call> {
    arguments: CommonArguments<C::Args>,
    slot: Slot<Option<C::Output>>,
}

impl<C: Call> OneCall for BroadcastCall<C> {
    type Call = C;

    fn with_arguments<T>(&self, f: impl FnOnce(&C::Args) -> T) -> Option<T> {
        Some(self.arguments.with(f))
    }

    fn try_with_arguments<T>(&self, f: impl FnOnce(&C::Args) -> T) -> TryWith<T> {
        self.arguments.try_with(f)
    }

    fn settle(&self, outcome: Result<C::Output, JoinError>) {
        self.slot.set(outcome.map(Some));
    }

    fn skip(&self) {
        self.slot.set(Ok(None));
    }
}

impl<C: Call> Awaited<Option<C::Output>> for BroadcastCall<C> {
    fn slot(&self) -> &Slot<Option<C::Output>> {
        &self.slot
    }

    fn into_job(self: Arc<Self>) -> Arc<dyn Job> {
        self
    }
}

impl<C: Call> fmt::Debug for BroadcastCall<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastCall")
            .field("task", &C::name())
            .field("slot", &self.slot)
            .finish()
    }
}
