//! What a pool's workers are doing.

use std::time::Duration;

use crate::task::TaskId;

/// What a worker is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkerState {
    /// It is being started or prepared.
    Starting,
    /// It waits for a task.
    Idle,
    /// It runs a task.
    Busy,
    /// It is being ended.
    Stopping,
}

/// One worker of a pool at one moment.
#[derive(Debug, Clone)]
pub struct WorkerInfo {
    pub(super) pid: Option<u32>,
    pub(super) state: WorkerState,
    pub(super) tasks_done: u64,
    pub(super) age: Duration,
    pub(super) current_task: Option<TaskId>,
}

impl WorkerInfo {
    /// The id of the worker's process. `None` before the worker has a process.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// What it is at.
    pub fn state(&self) -> WorkerState {
        self.state
    }

    /// How many tasks it has finished; batches of a map count as one.
    pub fn tasks_done(&self) -> u64 {
        self.tasks_done
    }

    /// The memory it holds that nobody else does, in bytes; 0 if it is gone.
    ///
    /// Read from `/proc` when asked.
    pub fn memory(&self) -> u64 {
        self.pid.map_or(0, private_bytes)
    }

    /// How long ago it was started.
    pub fn age(&self) -> Duration {
        self.age
    }

    /// The task it runs.
    pub fn current_task(&self) -> Option<TaskId> {
        self.current_task
    }
}

/// The private memory of a process, as `proc_pid_smaps(5)` counts it.
fn private_bytes(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let private = rollup
        .lines()
        .filter(|line| line.starts_with("Private_"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    private.sum::<u64>() * 1024
}
