//! A snapshot of one worker.
//!
//! Lives in the parent.

use std::time::Duration;

use crate::sys::procfs;
use crate::task::TaskId;

/// The state of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkerState {
    /// The worker is being started, or runs its preload or initializer: its process does not take tasks yet.
    Starting,
    /// The worker waits for a task.
    Idle,
    /// The worker runs a task, or is leased.
    Busy,
    /// The worker was told to stop, or was killed, and has not ended yet.
    Stopping,
}

/// One worker of a pool at the moment of [`Pool::workers`](crate::Pool::workers).
#[derive(Debug, Clone)]
pub struct WorkerInfo {
    pub(in crate::pool) number: usize,
    pub(in crate::pool) pid: Option<u32>,
    pub(in crate::pool) state: WorkerState,
    pub(in crate::pool) tasks_done: usize,
    pub(in crate::pool) age: Duration,
    pub(in crate::pool) current_task: Option<TaskId>,
    pub(in crate::pool) current_function: Option<&'static str>,
    pub(in crate::pool) running_for: Option<Duration>,
}

impl WorkerInfo {
    /// The number of the worker in its pool, counted from 0.
    ///
    /// A worker that replaces another has its number. Until the other has ended, both are there.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The process id. `None` before the worker has a process.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// The worker's state.
    pub fn state(&self) -> WorkerState {
        self.state
    }

    /// How many tasks the worker has finished. A batch of map items counts as one task.
    pub fn tasks_done(&self) -> usize {
        self.tasks_done
    }

    /// The memory that the worker shares with no other process, in bytes. 0 if the worker has ended.
    ///
    /// Reads `/proc/PID/smaps_rollup` at every call, which takes the kernel up to milliseconds for a large process.
    pub fn memory(&self) -> u64 {
        self.pid.map_or(0, procfs::private_memory)
    }

    /// The time since the worker was started.
    pub fn age(&self) -> Duration {
        self.age
    }

    /// The task that the worker runs, if it runs one.
    pub fn current_task(&self) -> Option<TaskId> {
        self.current_task
    }

    /// The path of the function that the worker runs, as [`std::any::type_name`] gives it.
    pub fn current_function(&self) -> Option<&str> {
        self.current_function
    }

    /// How long the worker has run its task; of a batch of map items, the current item.
    pub fn running_for(&self) -> Option<Duration> {
        self.running_for
    }
}
