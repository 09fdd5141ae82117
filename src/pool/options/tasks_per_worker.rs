//! The option of how many tasks a worker runs at a time, and what it excludes.
//!
//! Runs in the application.

use std::io;

use super::builder::PoolBuilder;
use crate::transfer::lane::MOST_LANES;

impl PoolBuilder {
    /// Sets how many tasks a worker runs at the same time (minimum 1). By default 1.
    ///
    /// For `async` functions that wait more than they compute. The tasks of a worker share its process, its memory and
    /// its Tokio runtime, and finish in any order.
    ///
    /// Each of the tasks has a thread of the worker for its time. So a future need not be `Send`, and a task that
    /// computes does not stop the others. A thread-local belongs to one task at a time, and is not the same for all
    /// tasks: an [`initializer`](Self::initializer) must leave what it makes in a `static`. Functions that are not
    /// `async` run at the same time, too. A C library that is not thread-safe needs a pool in which this is 1.
    ///
    /// # The end of a task
    ///
    /// - A panic ends its task and no other.
    /// - When the worker crashes or exits, all tasks that it had started fail with it, each with the crash as its
    ///   error. Tasks that it had only received run elsewhere.
    /// - A task that is cancelled or over its time limit is dropped in the worker, at its next `await` that waits. A
    ///   function that is not `async` learns of it from [`task::is_cancelled`](crate::task::is_cancelled). If the task
    ///   has not ended after [`cancel_grace`](Self::cancel_grace), the worker is killed, and the other tasks that it
    ///   had started fail as [`ErrorKind::Crashed`](crate::ErrorKind::Crashed). The grace is 1 s unless it is set.
    ///   Where panics abort, nothing is dropped: a task must check itself.
    /// - [`memory_limit`](Self::memory_limit) is of the worker, so of all of its tasks together. The task whose
    ///   allocation fails ends the worker, and has [`ErrorKind::MemoryExceeded`](crate::ErrorKind::MemoryExceeded). The
    ///   others fail as crashed, with that as the reason. If the allocation is of a thread that a task has started, the
    ///   task is not known: then all fail as crashed, but perhaps one.
    /// - A panic that aborts the worker is the error of its task. The others fail as crashed.
    ///
    /// # Together with other options
    ///
    /// - [`workers`](Self::workers) counts processes. So do [`Metrics::workers`](crate::Metrics::workers) and
    ///   [`Pool::workers`](crate::Pool::workers), which shows the longest-running task of each worker. A
    ///   [`queue_limit`](Self::queue_limit) allows, beside the waiting tasks, as many tasks as all workers run.
    /// - [`max_tasks_per_worker`](Self::max_tasks_per_worker) and [`max_worker_memory`](Self::max_worker_memory) count
    ///   the tasks and the memory of a worker together. A worker that is replaced, also because of its
    ///   [age](Self::max_worker_age) or by [`Pool::restart_workers`](crate::Pool::restart_workers), takes no more
    ///   tasks. Each of its tasks that ends makes a place in the replacement free. So a long task does not hold up the
    ///   other places, and no more tasks run at a time than before. The worker ends with its last task; until then
    ///   there is one process more.
    /// - [`Pool::resize`](crate::Pool::resize) and [`idle_timeout`](Self::idle_timeout) end a worker when all its tasks
    ///   have ended, or when it has had none for so long.
    /// - A lease ([`Pool::worker`](crate::Pool::worker)) is of a whole worker: of all its places. The request waits
    ///   until all tasks of a worker have ended, which takes no others meanwhile. Calls of the lease run one after the
    ///   other, on one thread.
    /// - [`broadcast`](crate::Pool::broadcast) runs once in each worker: in the place that is free first, before
    ///   waiting tasks, and beside running tasks. In a leased worker it runs between two calls of the lease.
    /// - [`initializer`](Self::initializer) runs once in each worker, before its first task.
    ///   [`worker_exit`](Self::worker_exit) runs once, after the last of its tasks has ended.
    /// - A [cached value](crate::Pool::cache) is decoded once in each worker, and all its tasks share it.
    /// - A [`key`](crate::Run::key) leads to the worker that last had it, to any of its places that is free.
    /// - A sign of life ([`task::alive`](crate::task::alive)) from a thread that a task has started counts for all
    ///   tasks of the worker. Such a thread does not see whether the task is cancelled, nor its id.
    /// - [`state`](Self::state) and [`cpu_time_limit`](Self::cpu_time_limit) are of one task at a time: `build` refuses
    ///   them.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// async fn fetch(n: u64) -> u64 {
    ///     tokio::time::sleep(Duration::from_millis(50)).await;
    ///     n
    /// }
    ///
    /// # #[procession::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = procession::Pool::builder().workers(1).tasks_per_worker(20).build()?;
    /// let all = pool.map(fetch, 0..20).chunk_size(1).await?;
    /// assert_eq!(all, Vec::from_iter(0..20));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "concurrency")]
    pub fn tasks_per_worker(mut self, tasks: usize) -> Self {
        self.tasks_per_worker = tasks.max(1);
        self
    }

    /// Refuses what works with one task at a time only.
    pub(super) fn check_tasks_per_worker(&self) -> io::Result<()> {
        let tasks = self.tasks_per_worker;
        let why = if tasks == 1 {
            return Ok(());
        } else if tasks > MOST_LANES {
            format!("a worker runs at most {MOST_LANES} tasks at a time, not {tasks}")
        } else if self.state.is_some() {
            "calls have the state of a worker one after the other, so `tasks_per_worker` must be 1"
                .to_owned()
        } else if self.surroundings.cpu_time.is_some() {
            "`cpu_time_limit` is of one task at a time, so `tasks_per_worker` must be 1".to_owned()
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, why))
    }
}
