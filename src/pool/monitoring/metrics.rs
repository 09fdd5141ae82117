//! Counts of what a pool does and has done.
//!
//! Lives in the parent.

use super::histogram::Histogram;
use crate::error::ErrorKind;

/// The counts of a pool at the moment of [`Pool::metrics`](crate::Pool::metrics).
///
/// Calls count one by one: every item of a map is a call. Tasks count as they are sent to workers: a batch of map
/// items is one task.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    pub(in crate::pool) workers: usize,
    pub(in crate::pool) busy: usize,
    pub(in crate::pool) queued: usize,
    pub(in crate::pool) running: usize,
    pub(in crate::pool) queued_bytes: u64,
    pub(in crate::pool) utilisation: f64,
    pub(in crate::pool) breaker_open: bool,
    pub(in crate::pool) counts: Counts,
}

/// The counts that never decrease.
#[derive(Debug, Clone, Default)]
pub(in crate::pool) struct Counts {
    pub(in crate::pool) completed: u64,
    pub(in crate::pool) failed: u64,
    pub(in crate::pool) crashed: u64,
    pub(in crate::pool) timed_out: u64,
    pub(in crate::pool) cancelled: u64,
    pub(in crate::pool) retried: u64,
    pub(in crate::pool) corrupted: u64,
    pub(in crate::pool) recycled: u64,
    pub(in crate::pool) wait_time: Histogram,
    pub(in crate::pool) run_time: Histogram,
}

impl Counts {
    /// Counts calls that ended with an error of this kind.
    pub(in crate::pool) fn add_failed(&mut self, kind: ErrorKind, calls: u64) {
        match kind {
            ErrorKind::Cancelled => {
                self.cancelled += calls;
                return;
            }
            ErrorKind::Crashed | ErrorKind::Exited => self.crashed += calls,
            ErrorKind::TimedOut => self.timed_out += calls,
            _ => {}
        }
        self.failed += calls;
    }
}

impl Metrics {
    /// The number of workers that are ready or starting.
    ///
    /// A replacement that waits for a recycled worker to finish its last task does not count.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The number of workers that run a task.
    pub fn busy(&self) -> usize {
        self.busy
    }

    /// The number of tasks that wait for a worker. A batch of map items that waits counts as one task.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// How many bytes the encoded arguments of all tasks have that wait: for a worker, or behind another task in one.
    ///
    /// This is what [`queue_bytes`](crate::PoolBuilder::queue_bytes) limits.
    pub fn queued_bytes(&self) -> u64 {
        self.queued_bytes
    }

    /// The number of tasks that were sent to a worker and have no outcome.
    ///
    /// A few tasks are sent ahead to every worker, so this may be larger than [`Metrics::busy`].
    pub fn running(&self) -> usize {
        self.running
    }

    /// The share of the last ten seconds of all workers in which they ran tasks, between 0 and 1.
    ///
    /// Workers that have ended count for as long as they lived. Of a younger pool the share of its life is returned.
    pub fn utilisation(&self) -> f64 {
        self.utilisation
    }

    /// Whether workers could not be started several times in a row, or many have died with nothing to do, and none has
    /// started since.
    ///
    /// The pool tries again after a second, and when a task is submitted and there is no worker.
    pub fn breaker_open(&self) -> bool {
        self.breaker_open
    }

    /// The number of calls that returned a value.
    pub fn completed(&self) -> u64 {
        self.counts.completed
    }

    /// The number of calls that ended with any error except [`ErrorKind::Cancelled`].
    ///
    /// The calls that [`crashed`](Self::crashed) and [`timed_out`](Self::timed_out) count are among them.
    pub fn failed(&self) -> u64 {
        self.counts.failed
    }

    /// The number of calls whose worker crashed or exited while it ran them. [`failed`](Self::failed) counts them too.
    pub fn crashed(&self) -> u64 {
        self.counts.crashed
    }

    /// The number of calls that ran longer than their time limit, or waited longer than their
    /// [`queue_timeout`](crate::Run::queue_timeout). [`failed`](Self::failed) counts them too.
    pub fn timed_out(&self) -> u64 {
        self.counts.timed_out
    }

    /// The number of calls that were aborted, or whose future was dropped before they had an outcome.
    pub fn cancelled(&self) -> u64 {
        self.counts.cancelled
    }

    /// The number of times that a call was run again, by its [`retries`](crate::Run::retries): because its worker
    /// crashed or exited, or because the rule of [`retry_if`](crate::PoolBuilder::retry_if) said so.
    pub fn retried(&self) -> u64 {
        self.counts.retried
    }

    /// The number of workers that were killed because they broke the protocol of the memory or the socket that they
    /// share with the application.
    ///
    /// A library in the worker has overwritten the memory, or an attacker controls the worker. The call that such a
    /// worker ran ends as [`ErrorKind::Crashed`]. No other call is affected.
    pub fn corrupted(&self) -> u64 {
        self.counts.corrupted
    }

    /// The number of workers that were replaced although nothing was wrong with them: because of
    /// [`max_tasks_per_worker`](crate::PoolBuilder::max_tasks_per_worker),
    /// [`max_worker_memory`](crate::PoolBuilder::max_worker_memory),
    /// [`max_worker_age`](crate::PoolBuilder::max_worker_age), [`restart_workers`](crate::Pool::restart_workers), or a
    /// panic in a call of a [`StatePool`](crate::StatePool).
    pub fn recycled(&self) -> u64 {
        self.counts.recycled
    }

    /// The times between the submission and the end of finished tasks, without the time they ran.
    pub fn wait_time(&self) -> Histogram {
        self.counts.wait_time.clone()
    }

    /// The times that finished tasks ran.
    pub fn run_time(&self) -> Histogram {
        self.counts.run_time.clone()
    }
}
