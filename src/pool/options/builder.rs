//! The options of a pool, and its constructors.
//!
//! Runs in the parent. Building a pool checks what can be checked without a child, makes the pool's shared state and
//! spawns its driver.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::cgroup::{Cgroup, WorkerCgroups};
use super::retry_rule::RetryRule;
use super::worker_limits::{ChosenBounds, WorkerLimits};
use super::worker_surroundings;
use super::worker_surroundings::EnvPerWorker;
use crate::pool::decisions::core::{OnLoss, Settings};
use crate::pool::driving::driver::Driver;
use crate::pool::driving::exit_call;
use crate::pool::driving::exit_call::ExitFunction;
use crate::pool::driving::initializer;
use crate::pool::driving::initializer::Initializer;
use crate::pool::pool::Pool;
use crate::pool::pool_guard::PoolGuard;
use crate::pool::shared::PoolShared;
use crate::spawn::{ChildSource, ForkServer, Output, StartMethod, Surroundings};
use crate::sys::cpu_count;
use crate::sys::reactor;
use crate::sys::text;
use crate::task::{Plain, Setup, Task};
use crate::transfer::entry_point::EntryPoint;

/// The longest name of a pool, in bytes: the names of its workers are longer by a number.
const LONGEST_POOL_NAME: usize = 200;

/// The time to react to a cancellation, if the builder sets none and other tasks would end with the worker.
const GRACE_OF_SEVERAL: Duration = Duration::from_secs(1);

/// The names of the two functions that prepare a worker, for error messages.
const PRELOAD_NAME: &str = "the preload";
const INITIALIZER_NAME: &str = "the initializer";

/// The options of a [`Pool`]. Made by [`Pool::builder`]; later calls override earlier ones.
#[must_use = "a builder does nothing until `build`"]
pub struct PoolBuilder {
    pub(in crate::pool) bounds: ChosenBounds,
    pub(in crate::pool) limits: WorkerLimits,
    name: Option<String>,
    start_method: StartMethod,
    pub(in crate::pool) surroundings: Surroundings,
    pub(in crate::pool) env_per_worker: Option<EnvPerWorker>,
    pub(in crate::pool) inner_threads: Option<usize>,
    pub(in crate::pool) output: Output,
    pub(in crate::pool) cgroup: Cgroup,
    result_limit: Option<u64>,
    task_timeout: Option<Duration>,
    cancel_grace: Option<Duration>,
    pub(in crate::pool) tasks_per_worker: usize,
    retries: u32,
    pub(in crate::pool) queue_limit: Option<usize>,
    pub(in crate::pool) queue_bytes: Option<u64>,
    pub(in crate::pool) queue_timeout: Option<Duration>,
    pub(in crate::pool) retry_if: Option<RetryRule>,
    seed: Option<u64>,
    preload: Option<Initializer>,
    initializer: Option<Initializer>,
    worker_exit: Option<ExitFunction>,
    pub(in crate::pool) state: Option<Initializer>,
    pub(in crate::pool) on_loss: OnLoss,
}

impl Pool {
    /// Builds a pool with the default options.
    ///
    /// It has as many workers as this process may use processors: [`cpu_count`](crate::cpu_count).
    ///
    /// # Errors
    ///
    /// See [`PoolBuilder::build`].
    pub fn new() -> io::Result<Self> {
        Self::builder().build()
    }

    /// Builds a pool of `workers` workers (minimum 1).
    ///
    /// # Errors
    ///
    /// See [`PoolBuilder::build`].
    pub fn with_workers(workers: usize) -> io::Result<Self> {
        Self::builder().workers(workers).build()
    }

    /// Returns a builder with the default options.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::default()
    }
}

impl Default for PoolBuilder {
    fn default() -> Self {
        Self {
            bounds: ChosenBounds::default(),
            limits: WorkerLimits::default(),
            name: None,
            start_method: StartMethod::default(),
            surroundings: worker_surroundings::defaults(),
            env_per_worker: None,
            inner_threads: None,
            output: Output::Inherit,
            cgroup: Cgroup::Off,
            result_limit: None,
            task_timeout: None,
            cancel_grace: None,
            tasks_per_worker: 1,
            retries: 0,
            queue_limit: None,
            queue_bytes: None,
            queue_timeout: None,
            retry_if: None,
            seed: None,
            preload: None,
            initializer: None,
            worker_exit: None,
            state: None,
            on_loss: OnLoss::Replace,
        }
    }
}

impl PoolBuilder {
    /// Names the pool. Its workers are named `name/0`, `name/1` and so on, in `ps` and `top` too.
    ///
    /// A name of more than 200 bytes is shortened.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets how workers are started. See [`StartMethod`].
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.start_method = method;
        self
    }

    /// Runs a function once, in the process from which the pool's workers are forked.
    ///
    /// Every worker finds what it stored in a `static` (`OnceLock`, `LazyLock`). The workers share that memory until
    /// one of them writes to it. The function is not `async`, and threads that it starts must have ended when it
    /// returns. Tasks run on another thread, which has thread-locals of its own. A generator of random numbers in a
    /// `static` gives the same numbers in every worker, unless the [`initializer`](Self::initializer) seeds it again.
    ///
    /// If the function panics, returns an error, ends its process or leaves threads running, it is tried again a
    /// few times. If it still fails, waiting tasks fail with [`ErrorKind::Spawn`](crate::ErrorKind::Spawn) and
    /// the cause. It runs again if the process from which workers are forked is killed. Under
    /// [`StartMethod::Exec`], and where no process can be forked, every worker runs it, before the initializer.
    ///
    /// ```
    /// use std::sync::OnceLock;
    ///
    /// static WORDS: OnceLock<Vec<String>> = OnceLock::new();
    ///
    /// fn load(path: String) -> std::io::Result<()> {
    ///     let text = std::fs::read_to_string(path)?;
    ///     WORDS.get_or_init(|| text.split_whitespace().map(str::to_owned).collect());
    ///     Ok(())
    /// }
    ///
    /// # #[procession::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = procession::Pool::builder()
    ///     .workers(2)
    ///     .preload(load, "Cargo.toml".to_owned())
    ///     .build()?;
    /// let words = pool.run(|| WORDS.get().map_or(0, Vec::len), ()).await?;
    /// assert!(words > 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn preload<F, M, A>(mut self, f: F, args: A) -> Self
    where
        F: Setup<M, A>,
        M: Plain,
    {
        let _ = f; // zero-sized: its type is the function
        self.preload = Some(initializer::initializer::<F::Call>(
            PRELOAD_NAME,
            F::arguments(args),
        ));
        self
    }

    /// Runs a function in every worker, once, before the worker's first task, and after the fork if the worker is
    /// forked.
    ///
    /// If the function panics or returns an error, the worker is replaced. If this happens repeatedly, the pool
    /// pauses starting workers, and waiting tasks fail with [`ErrorKind::Spawn`](crate::ErrorKind::Spawn) and the
    /// cause.
    pub fn initializer<F, M, A>(mut self, f: F, args: A) -> Self
    where
        F: Setup<M, A>,
    {
        let _ = f; // zero-sized: its type is the function
        self.initializer = Some(initializer::initializer::<F::Call>(
            INITIALIZER_NAME,
            F::arguments(args),
        ));
        self
    }

    /// Runs a function in every worker that leaves in an orderly way, after its last task.
    ///
    /// That is when the pool is shut down, and when a worker is recycled, restarted, idle for too long, one too many
    /// after [`resize`](Pool::resize), or has lost its [`state`](Self::state). What it returns is in the
    /// [`ShutdownReport`](crate::ShutdownReport). A worker that was killed, crashed, or belongs to a pool that was
    /// terminated or dropped does not run it. If it panics, its error is in the report and the worker leaves all the
    /// same. It may run as long as a task ([`task_timeout`](Self::task_timeout)), or a minute if tasks may run for
    /// ever. It is no task: metrics do not count it. Arguments of which there is only one, such as the end of a pipe,
    /// can be sent to one worker. The replacement of a recycled worker takes tasks when the function has returned.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// static SUM: AtomicU64 = AtomicU64::new(0);
    ///
    /// # #[procession::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = procession::Pool::builder()
    ///     .workers(2)
    ///     .worker_exit(|| SUM.load(Ordering::Relaxed), ())
    ///     .build()?;
    /// pool.map(|n: u64| SUM.fetch_add(n, Ordering::Relaxed), 0..100).await?;
    /// let sums = pool.shutdown().await.results::<u64>();
    /// assert_eq!(sums.iter().sum::<u64>(), 4950);
    /// # Ok(())
    /// # }
    /// ```
    pub fn worker_exit<F, M, A>(mut self, f: F, args: A) -> Self
    where
        F: Task<M, A>,
    {
        let _ = f; // zero-sized: its type is the function
        self.worker_exit = Some(exit_call::exit_function::<F::Call>(F::arguments(args)));
        self
    }

    /// Limits how long every task may run, unless the task has a limit of its own. By default there is no limit.
    ///
    /// The time counts from the moment a worker starts the task; the wait for a worker does not count. A task
    /// over the limit is killed and fails with [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut).
    pub fn task_timeout(mut self, timeout: Duration) -> Self {
        self.task_timeout = Some(timeout);
        self
    }

    /// Sets the time between the request to a cancelled or timed-out task to stop and the kill of its worker.
    ///
    /// The task learns of the request from [`task::cancelled`](crate::task::cancelled) or
    /// [`task::is_cancelled`](crate::task::is_cancelled). A task that returns in time keeps its worker alive; its
    /// outcome is the cancellation or timeout all the same. By default 0: the worker is killed at once. With
    /// [`tasks_per_worker`](Self::tasks_per_worker) above 1 it is 1 s by default, because other tasks end with the
    /// worker.
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.cancel_grace = Some(grace);
        self
    }

    /// Sets what [`task::seed`](crate::task::seed) follows from in the workers. By default it is random.
    ///
    /// A map whose items seed their generators so gives the same results at each run, whatever the number of workers is
    /// and however often an item was tried.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets how often a task is run again if its worker crashes or exits while the task runs. By default 0.
    ///
    /// Tasks that had not started are always run elsewhere and do not count. See [`Run::retries`](crate::Run::retries),
    /// and [`retry_if`](Self::retry_if) for another rule.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Limits how long a result may be, in bytes as it is encoded.
    ///
    /// A longer result is not read, and its task ends with [`ErrorKind::Decode`](crate::ErrorKind::Decode): a worker
    /// must not be able to fill the application's memory. By default the limit is 4 GiB, or half of the machine's
    /// memory if that is less. A decoded value may take more memory than its bytes.
    pub fn result_limit(mut self, bytes: u64) -> Self {
        self.result_limit = Some(bytes);
        self
    }

    /// Builds the pool and starts its workers. Does not wait for them.
    ///
    /// The pool lives in the Tokio runtime in which this is called.
    ///
    /// # Errors
    ///
    /// - This is not called inside a Tokio runtime with its I/O and time drivers enabled.
    /// - Children cannot be started, because [`init`](crate::init) was not called.
    /// - No descriptors are left.
    /// - [`tasks_per_worker`](Self::tasks_per_worker) is above 1 and the pool has a state or a limit on the processor
    ///   time of a task, or it is above 1024 ([`io::ErrorKind::InvalidInput`]).
    /// - It has more than 32,768 workers, the least number of workers is above the largest, or the number is left to
    ///   `PROCESSION_WORKERS`, which is no number ([`io::ErrorKind::InvalidInput`]).
    /// - [`cgroup`](Self::cgroup) requires what is not possible here ([`io::ErrorKind::Unsupported`]).
    pub fn build(self) -> io::Result<Pool> {
        EntryPoint::of_this_process()?;
        reactor::check_runtime()?;
        let settings = self.settings()?;
        let (events, told) = mpsc::unbounded_channel();
        let (ends, ended) = oneshot::channel();
        let shared = Arc::new(PoolShared::new(settings, events, ended));
        let driver = Driver::new(Arc::clone(&shared), told, ends);
        shared.background.spawn(driver);
        // Starts the workers.
        shared.with(|_| ());
        Ok(Pool {
            guard: Arc::new(PoolGuard { shared }),
        })
    }

    fn settings(self) -> io::Result<Settings> {
        let bounds = self.bounds.resolve(cpu_count::checked)?;
        self.check_tasks_per_worker()?;
        let mut surroundings = self.surroundings;
        worker_surroundings::limit_inner_threads(&mut surroundings, self.inner_threads, bounds.max);
        let source = match (self.start_method, &self.preload) {
            (StartMethod::ForkServer, Some(preload)) => {
                let preload = initializer::preload(Arc::clone(preload), surroundings.clone());
                ChildSource::Own(Arc::new(ForkServer::with_preload(preload)))
            }
            (method, _) => ChildSource::of(method),
        };
        Ok(Settings {
            id: next_id(),
            seed: self.seed.unwrap_or_else(|| RandomState::new().hash_one(0)),
            bounds,
            limits: self.limits,
            name: self
                .name
                .map(|name| text::prefix(&name, LONGEST_POOL_NAME).to_owned()),
            source,
            preload: self.preload,
            surroundings,
            env_per_worker: self.env_per_worker,
            output: self.output,
            cgroups: WorkerCgroups::of(self.cgroup)?,
            result_limit: self.result_limit,
            task_timeout: self.task_timeout,
            cancel_grace: self.cancel_grace.unwrap_or(match self.tasks_per_worker {
                1 => Duration::ZERO,
                _ => GRACE_OF_SEVERAL,
            }),
            tasks_per_worker: self.tasks_per_worker,
            retries: self.retries,
            queue_limit: self.queue_limit,
            queue_bytes: self.queue_bytes,
            queue_timeout: self.queue_timeout,
            retry_if: self.retry_if,
            initializer: self.initializer,
            worker_exit: self.worker_exit,
            exit_results: Arc::default(),
            state: self.state,
            on_loss: self.on_loss,
        })
    }
}

/// An id that no other pool of this process has.
fn next_id() -> u64 {
    static LAST_ID: AtomicU64 = AtomicU64::new(0);
    LAST_ID.fetch_add(1, Ordering::Relaxed) + 1
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("bounds", &self.bounds)
            .field("limits", &self.limits)
            .field("name", &self.name)
            .field("start_method", &self.start_method)
            .field("surroundings", &self.surroundings)
            .field("task_timeout", &self.task_timeout)
            .field("cancel_grace", &self.cancel_grace)
            .field("tasks_per_worker", &self.tasks_per_worker)
            .field("retries", &self.retries)
            .field("queue_limit", &self.queue_limit)
            .field("queue_bytes", &self.queue_bytes)
            .field("queue_timeout", &self.queue_timeout)
            .field("retry_if", &self.retry_if)
            .field("preload", &self.preload.is_some())
            .field("initializer", &self.initializer.is_some())
            .field("worker_exit", &self.worker_exit.is_some())
            .field("state", &self.state.is_some())
            .finish()
    }
}
