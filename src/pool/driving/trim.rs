//! When the memory of idle blobs is given back to the kernel.

use std::time::Duration;

use crate::sys::clock::Moment;

/// How long the memory for large values is kept after the last task.
const BLOBS_KEPT: Duration = Duration::from_secs(5);

/// The timer of a pool's idle memory.
#[derive(Debug)]
pub(in crate::pool) struct Trim {
    at: Option<Moment>,
    workers: WorkerBlobs,
}

/// The memory for large results that workers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WorkerBlobs {
    None,
    /// Workers keep it, to use it again.
    Kept,
    /// Workers were told to free it. Their answers, which free the parent's mappings, were not read yet.
    Freed,
}

impl Trim {
    pub(in crate::pool) fn new() -> Self {
        Self {
            at: None,
            workers: WorkerBlobs::None,
        }
    }

    /// A worker has sent a large result.
    pub(in crate::pool) fn on_worker_blob(&mut self) {
        self.workers = WorkerBlobs::Kept;
    }

    /// Whether memory must be freed now. `idle` says whether the pool has no tasks, `kept` whether it keeps memory for
    /// arguments.
    #[must_use]
    pub(in crate::pool) fn is_due(&mut self, idle: bool, kept: bool, now: Moment) -> bool {
        if !idle || !kept && self.workers == WorkerBlobs::None {
            self.at = None;
        } else if self.at.is_none() {
            self.at = Some(now.plus(BLOBS_KEPT));
        }
        self.at.is_some_and(|at| now >= at)
    }

    /// When memory must be freed, if nothing else happens.
    pub(in crate::pool) fn at(&self) -> Option<Moment> {
        self.at
    }

    /// Memory is being freed. Returns whether workers must be told to free theirs.
    #[must_use]
    pub(in crate::pool) fn on_trim(&mut self, now: Moment) -> bool {
        let tell = self.workers == WorkerBlobs::Kept;
        self.workers = match tell {
            true => WorkerBlobs::Freed,
            false => WorkerBlobs::None,
        };
        self.at = tell.then(|| now.plus(BLOBS_KEPT));
        tell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_bits(seconds * 1_000_000_000)
    }

    #[test]
    fn memory_for_arguments_is_freed_once_the_pool_was_idle_long_enough() {
        let mut trim = Trim::new();
        assert!(!trim.is_due(true, true, at(1)));
        assert_eq!(trim.at(), Some(at(6)));
        assert!(!trim.is_due(false, true, at(2)), "there are tasks");
        assert!(!trim.is_due(true, true, at(7)));
        assert!(trim.is_due(true, true, at(12)));
        assert!(!trim.on_trim(at(12)), "no worker has memory");
        assert_eq!(trim.at(), None);
    }

    #[test]
    fn workers_are_told_once_and_their_answers_are_read_later() {
        let mut trim = Trim::new();
        trim.on_worker_blob();
        assert!(!trim.is_due(true, false, at(1)));
        assert!(trim.is_due(true, false, at(6)));
        assert!(trim.on_trim(at(6)));
        assert!(trim.is_due(true, false, at(11)));
        assert!(!trim.on_trim(at(11)));
        assert!(!trim.is_due(true, false, at(12)));
        assert_eq!(trim.at(), None);
    }
}
