//! How much memory a worker has added to what it had at its start.
//!
//! Runs in the application, in the driver, and only if the pool limits it.

use std::time::Duration;

use crate::sys::clock::Moment;
use crate::sys::procfs::MemoryUse;

/// The least time between two looks at one worker: a look takes the kernel some microseconds. In this time no worker
/// can touch more than some mebibytes.
const MEMORY_LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// See the module.
#[derive(Debug)]
pub(in crate::pool) struct MemoryWatch {
    at_start: MemoryUse,
    looked: Moment,
}

impl MemoryWatch {
    /// A worker was started.
    pub(in crate::pool) fn new(pid: u32) -> Self {
        Self {
            at_start: MemoryUse::of(pid).unwrap_or_default(),
            looked: Moment::default(),
        }
    }

    /// Whether a worker that has finished a task has had more than `limit` bytes. False as well if it was looked at a
    /// moment ago.
    pub(in crate::pool) fn is_over(&mut self, pid: u32, limit: u64, now: Moment) -> bool {
        if now.since(self.looked) < MEMORY_LOOK_INTERVAL {
            return false;
        }
        self.looked = now;
        // It has ended.
        let Some(now) = MemoryUse::of(pid) else {
            return false;
        };
        now.growth(self.at_start) > limit
    }
}
