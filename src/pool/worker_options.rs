//! The options of a pool that concern its workers: the setters of the builder.
//!
//! Runs in the application. Those that a single process has too are written in `spawn/surroundings.rs`.

use std::ffi::OsString;
use std::time::Duration;

use super::builder::PoolBuilder;
use super::worker_surroundings::EnvPerWorker;
use crate::spawn::surroundings_setters;

impl PoolBuilder {
    surroundings_setters!("every worker", "tasks that wait fail with");

    /// Sets variables of the environment that differ from worker to worker.
    ///
    /// `f` is called in the application before each start, with the number of the worker. Numbers count from 0, and a
    /// worker that replaces another has its number. For a moment both may run: a recycled worker finishes its last task
    /// while its replacement starts. The variables go before those of [`env`](Self::env) and
    /// [`inner_threads`](Self::inner_threads). If `f` panics, the start fails: tasks that wait fail with
    /// [`ErrorKind::Spawn`](crate::ErrorKind::Spawn). `f` runs on a thread of the runtime and must not block.
    ///
    /// ```
    /// # #[procession::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = procession::Pool::builder()
    ///     .workers(2)
    ///     .env_per_worker(|number| [("CUDA_VISIBLE_DEVICES", number.to_string())])
    ///     .build()?;
    /// let device = pool.run(|| std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default(), ());
    /// assert!(["0", "1"].contains(&device.await?.as_str()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn env_per_worker<F, I, K, V>(mut self, f: F) -> Self
    where
        F: Fn(usize) -> I + Send + Sync + 'static,
        I: IntoIterator<Item = (K, V)>,
        K: Into<OsString>,
        V: Into<OsString>,
    {
        self.env_per_worker = Some(EnvPerWorker::new(f));
        self
    }

    /// Sets how many threads libraries inside a worker may start (minimum 1).
    ///
    /// By default each worker has its share of the processors: [`cpu_count`](crate::cpu_count) divided by the largest
    /// number of workers, at least 1. Otherwise as many threads as processors would run in each worker.
    ///
    /// It sets `OMP_NUM_THREADS`, `OPENBLAS_NUM_THREADS`, `MKL_NUM_THREADS`, `RAYON_NUM_THREADS`, `POLARS_MAX_THREADS` and
    /// `TOKIO_WORKER_THREADS`, each unless the application's environment or [`env`](Self::env) has it. A
    /// [`preload`](Self::preload) has the application's environment: what it initialises there keeps its number.
    #[doc(alias = "OMP_NUM_THREADS")]
    pub fn inner_threads(mut self, threads: usize) -> Self {
        self.inner_threads = Some(threads);
        self
    }

    /// Limits how much processor time each task may use, in all threads of its worker together.
    ///
    /// A task over the limit is killed with its worker and fails with [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut).
    /// There is no [`cancel_grace`](Self::cancel_grace), and it is not run again, whatever
    /// [`retries`](Self::retries) says. Every item of a map is a task. Processes that the task starts have no part in it,
    /// and initializers have no limit. The kernel looks at every tick, so a task may use up to 10 ms more.
    ///
    /// A task that waits uses no processor time: see also [`task_timeout`](Self::task_timeout).
    #[doc(alias = "RLIMIT_CPU")]
    pub fn cpu_time_limit(mut self, time: Duration) -> Self {
        self.surroundings.cpu_time = Some(time);
        self
    }

    /// Sets the nice increment of the workers (`nice(1)`).
    ///
    /// By default 5, so that a saturated pool does not delay the application's timers.
    pub fn nice(mut self, nice: i32) -> Self {
        self.surroundings.nice = nice;
        self
    }
}
