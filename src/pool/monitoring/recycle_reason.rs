//! Why a worker is replaced although nothing is wrong with it.

use std::fmt;

/// Why a pool has replaced a worker that could have gone on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecycleReason {
    /// It has run as many tasks as [`max_tasks_per_worker`](crate::PoolBuilder::max_tasks_per_worker) allows.
    MaxTasks,
    /// It had more memory than [`max_worker_memory`](crate::PoolBuilder::max_worker_memory) allows.
    MaxMemory,
    /// It has lived as long as [`max_worker_age`](crate::PoolBuilder::max_worker_age) allows.
    MaxAge,
    /// A call of a [`StatePool`](crate::StatePool) has panicked while it had the state. The worker runs its
    /// [`worker_exit`](crate::PoolBuilder::worker_exit), drops the state and leaves.
    StateLost,
    /// [`Pool::restart_workers`](crate::Pool::restart_workers) was called.
    Restarted,
}

impl fmt::Display for RecycleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MaxTasks => "it has run all the tasks that a worker may run",
            Self::MaxMemory => "it had more memory than a worker may have",
            Self::MaxAge => "it has lived as long as a worker may live",
            Self::StateLost => "a call panicked while it had the state",
            Self::Restarted => "the workers were restarted",
        })
    }
}
