//! Saying how a pool is to be built.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::core::{Core, Settings};
use super::driver::Driver;
use super::initializer;
use super::initializer::Initializer;
use super::pool::Pool;
use super::pool_guard::PoolGuard;
use super::shared::Shared;
use crate::spawn::{ForkServer, Source, StartMethod};
use crate::sys::doorbell::Doorbell;
use crate::sys::reactor;
use crate::sys::reactor::Watched;
use crate::task::{Plain, Setup};
use crate::transfer::entry_point::EntryPoint;

/// Workers step back this far for the application, which must keep answering: with nice 5 the lateness
/// of the executor's timers under full load stays that of an idle machine.
const NICE: i32 = 5;

/// What preparations are called in errors.
const PRELOAD: &str = "the preload";
const INITIALIZER: &str = "the initializer";

/// How a pool is to be built. The last word on everything counts.
#[must_use = "a builder does nothing until `build`"]
pub struct PoolBuilder {
    workers: Option<usize>,
    name: Option<String>,
    start_method: StartMethod,
    nice: i32,
    memory_limit: Option<u64>,
    task_timeout: Option<Duration>,
    cancel_grace: Duration,
    retries: u32,
    preload: Option<Initializer>,
    initializer: Option<Initializer>,
}

impl Default for PoolBuilder {
    fn default() -> Self {
        Self {
            workers: None,
            name: None,
            start_method: StartMethod::default(),
            nice: NICE,
            memory_limit: None,
            task_timeout: None,
            cancel_grace: Duration::ZERO,
            retries: 0,
            preload: None,
            initializer: None,
        }
    }
}

impl PoolBuilder {
    /// How many workers there are, at least one. By default as many as this process may use processors, by
    /// affinity and cgroup quota.
    #[doc(alias = "processes")]
    #[doc(alias = "max_workers")]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// What the pool is called; its workers are called `name/0`, `name/1` and so on.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How workers are started.
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.start_method = method;
        self
    }

    /// A function that runs once, in the process from which the pool's workers are forked: what it leaves
    /// in a `static` (`OnceLock`, `LazyLock`) every worker finds there, and all share the memory until one
    /// writes to it. It is not `async`, and threads that it starts must have ended when it returns.
    ///
    /// If it panics, returns an error, ends its process or leaves threads behind, it is tried again a few
    /// times; when this goes on, waiting tasks fail with [`ErrorKind::Spawn`](crate::ErrorKind::Spawn) and
    /// the cause. It runs again when its process was killed, for the workers that come after. Under
    /// [`StartMethod::Exec`] every worker runs it, before its initializer.
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
        let _ = f; // has no bytes: its type is the function
        self.preload = Some(initializer::initializer::<F::Call>(
            PRELOAD,
            F::arguments(args),
        ));
        self
    }

    /// A function that every worker runs once before its first task.
    ///
    /// If it panics or returns an error, that worker is replaced; when this goes on, nobody tries any more
    /// and waiting tasks fail with [`ErrorKind::Spawn`](crate::ErrorKind::Spawn) and the cause.
    pub fn initializer<F, M, A>(mut self, f: F, args: A) -> Self
    where
        F: Setup<M, A>,
    {
        let _ = f; // has no bytes: its type is the function
        self.initializer = Some(initializer::initializer::<F::Call>(
            INITIALIZER,
            F::arguments(args),
        ));
        self
    }

    /// How long every task may take, unless it says otherwise itself; counted from the moment a worker
    /// starts it. What takes longer is killed and has [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut).
    pub fn task_timeout(mut self, timeout: Duration) -> Self {
        self.task_timeout = Some(timeout);
        self
    }

    /// How long a task that is cancelled or timed out may go on after it was told, before it is killed.
    /// See [`task::cancelled`](crate::task::cancelled). By default it is killed at once.
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.cancel_grace = grace;
        self
    }

    /// How often a task is run again whose worker crashed or exited while it ran. Work that had not
    /// started is always run elsewhere, and does not count. By default 0.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// How far the workers step back for others, as `nice(1)`. By default 5: so a saturated pool does not
    /// make the application's timers late.
    pub fn nice(mut self, nice: i32) -> Self {
        self.nice = nice;
        self
    }

    /// How much memory each worker may take, in bytes, beyond what it has when it starts, what a
    /// [`preload`](Self::preload) loaded included. All private memory counts that it may write to.
    ///
    /// The task whose allocation fails ends with [`ErrorKind::MemoryExceeded`](crate::ErrorKind::MemoryExceeded),
    /// alone, and its worker is replaced.
    #[doc(alias = "RLIMIT_DATA")]
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// Builds the pool and begins to start its workers. Does not wait for them.
    ///
    /// # Errors
    ///
    /// There is no Tokio runtime here, children cannot be started (see [`init`](crate::init)), or the
    /// kernel has no descriptors left.
    pub fn build(self) -> io::Result<Pool> {
        EntryPoint::of_this_process()?;
        reactor::check_runtime()?;
        let runtime = Handle::current();
        let bell = Doorbell::new()?;
        let heard = Watched::new(bell.try_clone()?.into())?;
        let workers = match self.workers {
            Some(workers) => workers.max(1),
            None => std::thread::available_parallelism()?.get(),
        };
        let (source, preload) = match (self.start_method, self.preload) {
            (StartMethod::ForkServer, Some(preload)) => {
                let server = ForkServer::with_preload(initializer::preload(preload));
                (Source::Own(Arc::new(server)), None)
            }
            (method, preload) => (Source::of(method), preload),
        };
        let settings = Settings {
            workers,
            name: self.name,
            source,
            preload,
            nice: self.nice,
            memory_limit: self.memory_limit,
            task_timeout: self.task_timeout,
            cancel_grace: self.cancel_grace,
            retries: self.retries,
            initializer: self.initializer,
        };
        let (news, listener) = mpsc::unbounded_channel();
        let core = Core::new(Arc::new(settings));
        let shared = Arc::new(Shared::new(core, runtime.clone(), news, bell));
        runtime.spawn(Driver::new(Arc::clone(&shared), heard, listener));
        shared.with(|_| ());
        Ok(Pool {
            front: Arc::new(PoolGuard { shared }),
        })
    }
}

impl Pool {
    /// A pool of as many workers as this process may use processors, by affinity and cgroup quota.
    ///
    /// # Errors
    ///
    /// There is no Tokio runtime here, children cannot be started (see [`init`](crate::init)), or the
    /// kernel has no descriptors left.
    pub fn new() -> std::io::Result<Self> {
        Self::builder().build()
    }

    /// A pool of `workers` workers, at least one.
    ///
    /// # Errors
    ///
    /// See [`Pool::new`].
    pub fn with_workers(workers: usize) -> std::io::Result<Self> {
        Self::builder().workers(workers).build()
    }

    /// Starts saying how a pool is to be built.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::default()
    }
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("workers", &self.workers)
            .field("name", &self.name)
            .field("start_method", &self.start_method)
            .field("nice", &self.nice)
            .field("memory_limit", &self.memory_limit)
            .field("task_timeout", &self.task_timeout)
            .field("cancel_grace", &self.cancel_grace)
            .field("retries", &self.retries)
            .field("preload", &self.preload.is_some())
            .field("initializer", &self.initializer.is_some())
            .finish()
    }
}
