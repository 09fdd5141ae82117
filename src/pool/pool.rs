//! What a pool's handles hold, and the pool itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::Stream;

use super::call_options::CallOptions;
use super::core::Phase;
use super::info::WorkerInfo;
use super::map::Map;
use super::metrics::Metrics;
use super::pool_guard::PoolGuard;
use super::run::Run;
use super::shutdown::Shutdown;
use super::task_handle::TaskHandle;
use super::worker_table::Worker;
use crate::call::single::Single;
use crate::schedule::{RunQueue, WorkerKey};
use crate::task::{Task, TaskId};

/// Worker processes that run functions.
///
/// Cloning gives another handle on the same pool. When the last clone and the last handle on a task is
/// gone, the workers are killed, without blocking.
///
/// A pool lives in the Tokio runtime in which it was built. When that ends, the workers are killed and
/// what is awaited elsewhere resolves with [`ErrorKind::Closed`](crate::ErrorKind::Closed).
///
/// ```
/// use procession::Pool;
///
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::with_workers(2)?;
/// let squares = pool.map(|x: u64| x * x, 0..5).await?;
/// assert_eq!(squares, [0, 1, 4, 9, 16]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "ProcessPoolExecutor")]
pub struct Pool {
    pub(super) guard: Arc<PoolGuard>,
}

impl Pool {
    /// Runs `f` with `args` in one of the workers, once the future is awaited.
    ///
    /// Dropping the future cancels: a task that waits is removed, one that runs is killed.
    #[doc(alias = "apply")]
    #[doc(alias = "submit")]
    pub fn run<F, M, A>(&self, f: F, args: A) -> Run<F::Output>
    where
        F: Task<M, A>,
    {
        let _ = f; // has no bytes: its type is the function
        let job = Arc::new(Single::<F::Call>::new(F::arguments(args)));
        Run::new(&self.guard, job, self.defaults())
    }

    /// Runs `f` with `args` in one of the workers, from now on. Dropping the handle detaches.
    #[doc(alias = "apply_async")]
    pub fn spawn<F, M, A>(&self, f: F, args: A) -> TaskHandle<F::Output>
    where
        F: Task<M, A>,
    {
        self.run(f, args).spawn()
    }

    /// Runs `f` on every item, in the workers, once the map is awaited or read as a stream.
    ///
    /// The input is read as there is room for it. See [`Map`].
    #[doc(alias = "imap")]
    #[doc(alias = "imap_unordered")]
    #[doc(alias = "starmap")]
    pub fn map<'a, F, M, I>(&self, f: F, items: I) -> Map<'a, F::Output>
    where
        F: Task<M, I::Item>,
        I: IntoIterator,
        I::IntoIter: Send + 'a,
        I::Item: 'a,
        M: 'a,
    {
        let _ = f; // has no bytes: its type is the function
        Map::over_iterator::<F, M, _>(&self.guard, items.into_iter(), self.defaults())
    }

    /// Runs `f` on every item of a stream, which is polled only when there is room for more.
    pub fn map_stream<'a, F, M, S>(&self, f: F, items: S) -> Map<'a, F::Output>
    where
        F: Task<M, S::Item>,
        S: Stream + Send + 'a,
        S::Item: 'a,
        M: 'a,
    {
        let _ = f; // has no bytes: its type is the function
        Map::over_stream::<F, M, _>(&self.guard, items, self.defaults())
    }

    /// What the pool has done so far and is doing now.
    pub fn metrics(&self) -> Metrics {
        let shared = &self.guard.shared;
        shared.look(|core| {
            let keys = core.workers.keys();
            let queues = keys.filter_map(|worker| core.schedule.run_queue(worker));
            let running: Vec<_> = queues.map(RunQueue::len).collect();
            let mut counts = core.counts.clone();
            counts.completed += shared.completed.load(Ordering::Relaxed);
            counts.failed += shared.failed.load(Ordering::Relaxed);
            Metrics {
                workers: core.workers.iter().filter(|(_, it)| it.is_alive()).count(),
                busy: running.iter().filter(|&&len| len > 0).count(),
                queued: core.schedule.waiting(),
                running: running.iter().sum(),
                counts,
            }
        })
    }

    /// The workers and what they are doing.
    pub fn workers(&self) -> Vec<WorkerInfo> {
        self.guard.shared.look(|core| {
            let info = |(key, it): (WorkerKey, &Worker)| {
                let front = core.schedule.run_queue(key).and_then(RunQueue::front);
                WorkerInfo {
                    pid: it.pid(),
                    state: it.life.public(front.is_some()),
                    tasks_done: it.done,
                    age: core.now.since(it.since),
                    current_task: front.map(|queued| TaskId(queued.task)),
                }
            };
            core.workers.iter().map(info).collect()
        })
    }

    /// Takes no new tasks, finishes those there are, and resolves when the last worker has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the pool goes on closing; call it again to wait again.
    #[doc(alias = "close")]
    #[doc(alias = "join")]
    pub fn shutdown(&self) -> Shutdown {
        self.guard.shared.with(|core| core.close(Phase::Closing));
        Shutdown::new(&self.guard, None)
    }

    /// Like [`Pool::shutdown`], but kills what has not ended after `limit`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe, but if it is dropped before `limit`, nothing is killed.
    pub fn shutdown_timeout(&self, limit: Duration) -> Shutdown {
        self.guard.shared.with(|core| core.close(Phase::Closing));
        Shutdown::new(&self.guard, Some(limit))
    }

    /// Kills every worker, whatever it is doing, and resolves when the last has ended. Tasks that had
    /// no outcome have [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the workers are killed all the same.
    pub fn terminate(&self) -> Shutdown {
        self.guard.shared.with(|core| core.close(Phase::Over));
        Shutdown::new(&self.guard, None)
    }

    fn defaults(&self) -> CallOptions {
        let settings = &self.guard.shared.settings;
        CallOptions {
            timeout: settings.task_timeout,
            retries: settings.retries,
            ..CallOptions::default()
        }
    }
}
