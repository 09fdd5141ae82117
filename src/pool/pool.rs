//! The pool as users hold it.
//!
//! Runs in the application. Never here: a decision. Each method asks the core, or makes a future that does.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::Stream;
use tokio::sync::oneshot;

use super::calls::full::Full;
use super::calls::permit::PermitFuture;
use super::calls::run::Run;
use super::calls::stream_task::StreamTask;
use super::calls::task_handle::TaskHandle;
use super::calls::task_stream::TaskStream;
use super::calls::ticket::Ticket;
use super::decisions::core::{Core, Phase};
use super::driving::events::DriverEvent;
use super::maps::map::Map;
use super::maps::map_input::{IteratorInput, StreamInput};
use super::monitoring::event_log::PoolEvents;
use super::monitoring::info::WorkerInfo;
use super::monitoring::metrics::Metrics;
use super::options::shared_options::SharedOptions;
use super::options::worker_limits::MOST_WORKERS;
use super::pool_guard::PoolGuard;
use super::restart_future::Restart;
use super::shutdown::Shutdown;
use crate::call::job;
use crate::call::single::Single;

use crate::task::Task;

/// Worker processes that run functions.
///
/// A clone is another handle on the same pool. Calls, task handles, maps, streams, permits and leases keep the pool
/// alive too. When the last of all these is dropped, the workers are killed, without blocking, and detached tasks with
/// them.
///
/// A pool lives in the Tokio runtime in which it was built, and can be used in other runtimes and executors too. If its
/// runtime is not driven while a task elsewhere waits for the pool (a current-thread runtime outside of `block_on`), a
/// thread of this crate drives the pool from then on. It notices this after 100 ms, or within about a second if the
/// runtime stops while the task waits. When the pool's runtime shuts down, the workers are killed, and calls that are
/// awaited elsewhere fail with [`ErrorKind::Closed`](crate::ErrorKind::Closed).
///
/// A pool lives in the process in which it was built. If the application forks (`fork(2)`, as a daemon does), the pool
/// is closed in the new process, which can build another. Dropping the pool there affects nothing. If a task forks, the
/// worker alone gives the result: a copy that returns from the function ends there, with status 0, or with 101 after a
/// panic.
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
    /// Runs `f` with `args` in one of the workers.
    ///
    /// The call is submitted when the future is first polled. Dropping the future cancels the call: a waiting call is
    /// removed, a running call is killed with its worker.
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

    /// Submits a call of `f` with `args` at once.
    ///
    /// Dropping the handle detaches the call: it runs all the same.
    #[doc(alias = "apply_async")]
    pub fn spawn<F, M, A>(&self, f: F, args: A) -> TaskHandle<F::Output>
    where
        F: Task<M, A>,
    {
        self.run(f, args).spawn()
    }

    /// Submits a call of `f` with `args` at once, as [`Pool::spawn`], if the queue has room.
    ///
    /// # Errors
    ///
    /// [`Full`] if so many tasks wait as [`queue_limit`](crate::PoolBuilder::queue_limit) allows, if their arguments
    /// and these have more bytes than [`queue_bytes`](crate::PoolBuilder::queue_bytes) allows, or if something else
    /// waits for a place. It gives the arguments back, which were not encoded: a full pool refuses within a
    /// microsecond. In a closed pool it is the handle that fails, with [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    pub fn try_spawn<F, M, A>(&self, f: F, args: A) -> Result<TaskHandle<F::Output>, Full<A>>
    where
        F: Task<M, A>,
    {
        let _ = f; // has no bytes: its type is the function
        let shared = &self.guard.shared;
        if !shared.settings.has_queue_limits() {
            return Ok(self.spawn(f, args));
        }
        match shared.read(|core| (core.phase, core.would_admit(0))) {
            (Phase::Open, true) => {}
            (Phase::Open, false) => return Err(Full(args)),
            _ => return Ok(self.spawn(f, args)),
        }
        let args = F::arguments(args);
        let bytes = match shared.settings.queue_bytes {
            Some(_) => job::measure_item(&args),
            None => 0,
        };
        if !shared.lock().try_give_place(bytes) {
            return Err(Full(F::give_back(args)));
        }
        let job = Arc::new(Single::<F::Call>::new(args));
        let place = Ticket::HasPlace(bytes);
        Ok(Run::with_ticket(&self.guard, job, self.defaults(), place).spawn())
    }

    /// Waits for a place in the queue, and reserves it.
    ///
    /// The place can be filled later, by [`Permit::run`](crate::Permit::run) or
    /// [`Permit::spawn`](crate::Permit::spawn), so that arguments are made only when there is room for them. Dropping
    /// the permit gives the place back. Without [`queue_limit`](crate::PoolBuilder::queue_limit) there is always room.
    /// It waits in order with calls of [`Priority::Normal`](crate::Priority::Normal).
    ///
    /// ```
    /// # #[procession::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = procession::Pool::builder().workers(1).queue_limit(8).build()?;
    /// let permit = pool.reserve().await?;
    /// let text = "made when there is room for it".to_owned();
    /// assert_eq!(permit.run(|text: String| text.len(), text).await?, 30);
    /// # Ok(())
    /// # }
    /// ```
    pub fn reserve(&self) -> PermitFuture {
        PermitFuture::new(&self.guard, self.defaults())
    }

    /// Runs `f` in one of the workers, and gives the items that it sends while it runs.
    ///
    /// The first parameter of `f` is an [`Emit`](crate::Emit), `args` are those behind it. The function is submitted
    /// when the stream is first polled. Dropping the stream stops the function.
    #[doc(alias = "imap")]
    pub fn stream<F, M, A>(&self, f: F, args: A) -> TaskStream<F::Item>
    where
        F: StreamTask<M, A>,
        A: Send + 'static,
    {
        let _ = f; // has no bytes: its type is the function
        TaskStream::new::<F::Call>(&self.guard, self.defaults(), |emit| {
            F::arguments(emit, args)
        })
    }

    /// Runs `f` on every item, in the workers.
    ///
    /// The map begins when it is first polled, as a future or as a stream. It reads the input as far ahead as
    /// [`Map`] says.
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
        let input = IteratorInput::<_, F, M>::new(items.into_iter());
        Map::over(&self.guard, input, self.defaults())
    }

    /// Runs `f` on every item of a stream.
    ///
    /// As [`Pool::map`]. The stream is polled only when the map reads further ahead.
    pub fn map_stream<'a, F, M, S>(&self, f: F, items: S) -> Map<'a, F::Output>
    where
        F: Task<M, S::Item>,
        S: Stream + Send + 'a,
        S::Item: 'a,
        M: 'a,
    {
        let _ = f; // has no bytes: its type is the function
        let input = StreamInput::<_, F, M>::new(items);
        Map::over(&self.guard, input, self.defaults())
    }

    /// Returns what the pool has done so far and is doing now.
    ///
    /// It takes some microseconds, in which no task is dispatched.
    pub fn metrics(&self) -> Metrics {
        let shared = &self.guard.shared;
        let mut metrics = shared.read(Core::metrics);
        metrics.counts.completed += shared.completed.load(Ordering::Relaxed);
        metrics.counts.failed += shared.failed.load(Ordering::Relaxed);
        metrics
    }

    /// Returns what happens in the pool from now on, as a stream.
    ///
    /// Nothing waits for the reader: of more than 1024 events that were not read the oldest are dropped, and the reader
    /// finds [`PoolEvent::Missed`](crate::PoolEvent::Missed). Without a reader events cost nothing. The stream ends
    /// with the pool.
    ///
    /// ```
    /// use futures::StreamExt as _;
    /// use procession::PoolEvent;
    ///
    /// # #[procession::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = procession::Pool::with_workers(1)?;
    /// let mut events = pool.events();
    /// pool.run(|| std::process::abort(), ()).await.unwrap_err();
    /// while let Some(event) = events.next().await {
    ///     if let PoolEvent::WorkerExited { cause, .. } = event {
    ///         assert!(cause.is_crashed());
    ///         break;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn events(&self) -> PoolEvents {
        let shared = &self.guard.shared;
        if shared.is_elsewhere() {
            return PoolEvents::ended();
        }
        let events = shared.event_log.read();
        shared.with(|core| core.has_readers = true);
        events
    }

    /// Returns the workers and what they are doing.
    pub fn workers(&self) -> Vec<WorkerInfo> {
        self.guard.shared.read(Core::worker_infos)
    }

    /// Changes the number of workers to `workers` (minimum 1, maximum 32,768).
    ///
    /// It sets both bounds, as [`PoolBuilder::workers`](crate::PoolBuilder::workers) does. New workers start at once.
    /// Workers that are too many finish the task that they run, and leave; tasks that they have not started run
    /// elsewhere. Those with the highest numbers leave first. A leased worker leaves when its [`Lease`](crate::Lease)
    /// is given back. A closed pool is not changed.
    pub fn resize(&self, workers: usize) {
        let workers = workers.clamp(1, MOST_WORKERS);
        let shared = &self.guard.shared;
        shared.with(|core| core.resize(workers));
        shared.tell_driver(DriverEvent::Wake);
    }

    /// Replaces all workers that there are now, one after the other, each when its task is done.
    ///
    /// This happens whether or not the future is awaited; it resolves when the last of them has finished its last task.
    /// A worker takes tasks until its replacement is ready, so none waits longer because of this, and no task is lost
    /// or refused. The replacement has the same number, and its [`initializer`](crate::PoolBuilder::initializer) runs;
    /// a [`preload`](crate::PoolBuilder::preload) does not run again. A leased worker, and the workers after it, are
    /// replaced when its [`Lease`](crate::Lease) is given back.
    ///
    /// If replacements cannot be started several times in a row, the restart ends: the workers that are left stay.
    /// Closing the pool ends it too.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future does not stop the restart.
    pub fn restart_workers(&self) -> Restart {
        let (sender, done) = oneshot::channel();
        let shared = &self.guard.shared;
        shared.with(|core| match core.phase {
            Phase::Open => core.restarts.add(&core.workers, sender),
            _ => drop(sender),
        });
        shared.tell_driver(DriverEvent::Wake);
        Restart::new(&self.guard, done)
    }

    /// Closes the pool: it takes no new tasks, finishes the tasks it has, and its workers exit.
    ///
    /// The pool closes at once; the future resolves when the last worker has exited.
    ///
    /// - Tasks that were submitted are finished, those without a handle too. Their retries still apply.
    /// - Later calls, calls that wait for a place in a full queue, and items that a map reads from then on fail with
    ///   [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    /// - A [`TaskStream`](crate::TaskStream) that has begun is finished when it was read to its end or dropped.
    /// - A [`Lease`](crate::Lease) ends when the calls that were submitted through it have ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future does not stop the closing. Call this again to wait again.
    ///
    /// ```
    /// # #[procession::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = procession::Pool::with_workers(1)?;
    /// let accepted = pool.spawn(|n: u32| n + 1, 1);
    /// pool.shutdown().await;
    /// assert_eq!(accepted.await?, 2);
    /// assert!(pool.run(|| (), ()).await.unwrap_err().is_closed());
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "close")]
    #[doc(alias = "join")]
    pub fn shutdown(&self) -> Shutdown {
        self.guard.shared.with(|core| core.close(Phase::Closing));
        Shutdown::new(&self.guard, None)
    }

    /// Closes the pool as [`Pool::shutdown`] does, and kills the workers that have not exited after `limit`.
    ///
    /// The limit counts from the first poll of the future. After it the pool ends as by [`Pool::terminate`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe, but if the future is dropped before `limit`, no worker is killed.
    pub fn shutdown_timeout(&self, limit: Duration) -> Shutdown {
        self.guard.shared.with(|core| core.close(Phase::Closing));
        Shutdown::new(&self.guard, Some(limit))
    }

    /// Kills every worker, and with it the task that it runs.
    ///
    /// This happens at once; the future resolves when the last worker has exited. Tasks without an outcome fail with
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future saves no worker.
    pub fn terminate(&self) -> Shutdown {
        self.guard.shared.with(|core| core.close(Phase::Over));
        Shutdown::new(&self.guard, None)
    }

    /// What the builder set for calls that do not choose themselves.
    pub(super) fn defaults(&self) -> SharedOptions {
        self.guard.shared.defaults.clone()
    }
}
