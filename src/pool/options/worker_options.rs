//! The options of a pool that concern its workers: the setters of the builder.
//!
//! Runs in the application. The options that a single process has too are written in `spawn/surroundings.rs`.

use std::ffi::OsString;
use std::time::Duration;

use super::builder::PoolBuilder;
use super::cgroup::Cgroup;
use super::worker_surroundings::EnvPerWorker;
use crate::spawn::{Output, surroundings_setters};

/// Their number.
impl PoolBuilder {
    /// Sets the number of workers (minimum 1): both [`min_workers`](Self::min_workers) and
    /// [`max_workers`](Self::max_workers).
    ///
    /// By default it is [`cpu_count`](crate::cpu_count): the number of processors that this process may use, by
    /// affinity and cgroup quota.
    #[doc(alias = "processes")]
    pub fn workers(mut self, workers: usize) -> Self {
        self.bounds.min = Some(workers.max(1));
        self.bounds.max = Some(workers.max(1));
        self
    }

    /// Sets the least number of workers. With 0 the pool has no process before the first task.
    ///
    /// Fewer than [`max_workers`](Self::max_workers) make the pool elastic. It grows while tasks wait, if their work is
    /// worth a start, or if they have waited 0.5 ms behind a task that runs. A worker that was idle for
    /// [`idle_timeout`](Self::idle_timeout) leaves. If only this is set, the largest number is
    /// [`cpu_count`](crate::cpu_count), or this number if that is less.
    pub fn min_workers(mut self, workers: usize) -> Self {
        self.bounds.min = Some(workers);
        self
    }

    /// Sets the largest number of workers (minimum 1). If only this is set, the least number is 1.
    ///
    /// See [`min_workers`](Self::min_workers). While workers are replaced
    /// ([`max_tasks_per_worker`](Self::max_tasks_per_worker)) there may be a process more for each, which waits. No
    /// more than this number run tasks.
    pub fn max_workers(mut self, workers: usize) -> Self {
        self.bounds.max = Some(workers);
        self
    }

    /// Sets how long a worker is idle before it leaves, if there are more than [`min_workers`](Self::min_workers). By
    /// default 10 s.
    ///
    /// A pool of a fixed number of workers keeps them all.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.bounds.idle_timeout = Some(timeout);
        self
    }
}

/// When they are replaced.
impl PoolBuilder {
    /// Sets how many tasks a worker runs before it is replaced (minimum 1). Every item of a map is a task.
    ///
    /// The replacement starts while the worker finishes its last task, and takes over when the worker has. So no more
    /// tasks run at a time than the pool has workers, and a pool of one worker runs its tasks in order. For that time
    /// there is one process more. No task is lost: a task that the worker was given and had not started runs in the
    /// replacement. It counts for the worker all the same, which may run fewer tasks than this. By default there is no
    /// limit.
    #[doc(alias = "maxtasksperchild")]
    #[doc(alias = "max_tasks_per_child")]
    pub fn max_tasks_per_worker(mut self, tasks: usize) -> Self {
        self.limits.tasks = Some(tasks.max(1) as u64);
        self
    }

    /// Limits how much memory a worker may have, in bytes, beyond what it has when it starts.
    ///
    /// A worker that has, or had for a moment, more is replaced after the task that went over; the task is not
    /// affected. Resident memory counts, without files and shared memory, as the application finds it in `/proc` when a
    /// task has ended, at most once in a millisecond. What an [`initializer`](Self::initializer) loads counts. The
    /// memory of a [`preload`](Self::preload) does not. See [`max_tasks_per_worker`](Self::max_tasks_per_worker) for
    /// how a worker is replaced, and [`memory_limit`](Self::memory_limit) for a limit that ends the task. By default
    /// there is no limit.
    pub fn max_worker_memory(mut self, bytes: u64) -> Self {
        self.limits.memory = Some(bytes);
        self
    }

    /// Sets how long a worker lives before it is replaced, idle or not.
    ///
    /// Each worker lives a random part of a tenth less, so that workers which were started together are not replaced
    /// together. An old worker takes tasks until its replacement is ready. By default there is no limit.
    pub fn max_worker_age(mut self, age: Duration) -> Self {
        self.limits.age = Some(age);
        self
    }
}

/// What surrounds them.
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

    /// Sets where the stdout and the stderr of workers go, and of what they start. By default where those of the
    /// application go. A [`preload`](Self::preload) writes there in any case.
    pub fn output(mut self, output: Output) -> Self {
        self.output = output;
        self
    }

    /// Sets whether each worker runs in a control group of its own, which is killed with it. By default none does.
    ///
    /// Killing a worker kills what it has started, also what has left its group and session of processes.
    /// But some processes cannot be found without a control group:
    ///
    /// - a daemon whose worker has crashed;
    /// - what a worker has started, if another process kills the worker and then, before the application has noticed,
    ///   the application;
    /// - a process that is started faster than it can be found.
    ///
    /// With a control group, the kernel kills all that the worker has ever started, at once (`cgroup.kill`), however
    /// the worker ends. Only a process that may write to the control groups can leave its own; a
    /// [detached](crate::ProcessBuilder::detach) one does.
    ///
    /// A group is made below that of the application, as `procession-PID-NUMBER`, and limits nothing. This needs
    /// version 2 of control groups (`cgroups(7)`), Linux 5.14, and the right to make groups: that of the superuser, or
    /// a delegation, as by `Delegate=yes` of a systemd unit, or `systemd-run --user --scope`. The application moves no
    /// process but its workers, and turns no controller on.
    ///
    /// The end of a worker is noticed, and it is replaced, when all processes in its group have ended, or after 1 s.
    /// The group is removed then. When the application is killed, its fork server kills and removes the groups. Where
    /// there is none ([`StartMethod::Exec`](crate::StartMethod::Exec)), or all were killed at once, empty groups are
    /// left, and the next application that makes groups at the same place removes them.
    ///
    /// Starting a worker takes up to some ten milliseconds longer, because the kernel stops all forks of the machine
    /// for the move to a group. Pools whose workers are replaced often should not have it. [`build`](Self::build)
    /// makes, checks and removes a group, which takes about a millisecond.
    ///
    /// # Errors
    ///
    /// With [`Cgroup::Required`], [`build`](Self::build) fails with
    /// [`io::ErrorKind::Unsupported`](std::io::ErrorKind::Unsupported) and says what is not allowed. If a group cannot
    /// be made later, tasks that wait fail with [`ErrorKind::Spawn`](crate::ErrorKind::Spawn). With
    /// [`Cgroup::IfDelegated`] the workers have no group then.
    ///
    /// ```
    /// use procession::{Cgroup, Pool};
    ///
    /// # #[procession::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::builder().workers(1).cgroup(Cgroup::IfDelegated).build()?;
    /// let group = pool.run(|| std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default(), ());
    /// println!("{}", group.await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "cgroup.kill")]
    pub fn cgroup(mut self, cgroup: Cgroup) -> Self {
        self.cgroup = cgroup;
        self
    }

    /// Sets how many threads libraries inside a worker may start (minimum 1).
    ///
    /// By default each worker has its share of the processors: [`cpu_count`](crate::cpu_count) divided by the largest
    /// number of workers, at least 1. Otherwise as many threads as processors would run in each worker.
    ///
    /// It sets `OMP_NUM_THREADS`, `OPENBLAS_NUM_THREADS`, `MKL_NUM_THREADS`, `RAYON_NUM_THREADS`, `POLARS_MAX_THREADS`
    /// and `TOKIO_WORKER_THREADS`, each unless the application's environment or [`env`](Self::env) has it. A
    /// [`preload`](Self::preload) has the same environment.
    #[doc(alias = "OMP_NUM_THREADS")]
    pub fn inner_threads(mut self, threads: usize) -> Self {
        self.inner_threads = Some(threads);
        self
    }

    /// Limits how much processor time each task may use, in all threads of its worker together.
    ///
    /// A task over the limit is killed with its worker and fails with
    /// [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut). There is no [`cancel_grace`](Self::cancel_grace), and it is
    /// not run again, whatever [`retries`](Self::retries) says. Every item of a map is a task. Processes that the task
    /// starts have no part in it, and initializers have no limit. The kernel looks at every tick, so a task may use up
    /// to 10 ms more.
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
