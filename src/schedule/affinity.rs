//! Which worker last had a task of a key, and the tasks that are held back for that worker.
//!
//! Pure. A task whose worker is busy is held for it, while other tasks wait that the free worker can take instead, and
//! at most for [`PATIENCE`] after its turn. So a key never makes a worker idle.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::num::NonZeroU64;
use std::time::Duration;

use super::{TaskKey, WorkerKey};
use crate::sys::clock::Moment;

/// How long after its turn a task waits for the worker that last had its key: about as long as making a small state
/// anew may take, and less than a person notices.
pub(crate) const PATIENCE: Duration = Duration::from_millis(50);

/// The most tasks that are held back at a time. They are looked through for every task that is sent.
pub(super) const MOST_HELD: usize = 64;

/// Keys that are remembered: at least so many of the last, and at most twice as many.
const KEYS_KEPT: usize = 4096;

/// What stands for the key of a task: its hash. Two keys with the same hash share a worker, which is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AffinityKey(NonZeroU64);

impl AffinityKey {
    pub(crate) fn of(key: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        Self(NonZeroU64::new(hasher.finish()).unwrap_or(NonZeroU64::MIN))
    }
}

/// A worker, and its number among all workers that were ever added: the key of a worker that is gone is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastWorker {
    pub(super) worker: WorkerKey,
    pub(super) serial: u64,
}

/// The worker that last had each key, for the keys that were used last.
///
/// Two generations stand for an order of use: when the young one is full, it becomes the old one, whose keys are
/// forgotten unless they are used again ("2Q" is a relative; an exact order would cost a list).
#[derive(Debug, Default)]
pub(super) struct LastWorkers {
    young: HashMap<AffinityKey, LastWorker>,
    old: HashMap<AffinityKey, LastWorker>,
}

impl LastWorkers {
    pub(super) fn get(&self, key: AffinityKey) -> Option<LastWorker> {
        self.young.get(&key).or_else(|| self.old.get(&key)).copied()
    }

    pub(super) fn set(&mut self, key: AffinityKey, last: LastWorker) {
        if self.young.len() >= KEYS_KEPT && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, last);
    }
}

/// A task that is held back for its worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeldTask {
    pub(super) task: TaskKey,
    pub(super) key: AffinityKey,
    /// When it had its turn.
    pub(super) since: Moment,
}

impl HeldTask {
    /// Whether it takes any worker.
    pub(super) fn is_impatient(&self, now: Moment) -> bool {
        now.since(self.since) >= PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_keys_as_are_kept_are_remembered_and_not_many_more() {
        let mut last_workers = LastWorkers::default();
        let at = |worker| LastWorker { worker, serial: 0 };
        let first = AffinityKey::of(&0);
        for n in 0..10 * KEYS_KEPT {
            last_workers.set(AffinityKey::of(&n), at(n));
            // Used again and again, it is never forgotten.
            last_workers.set(first, at(7));
        }
        assert_eq!(last_workers.get(first), Some(at(7)));
        let last = 10 * KEYS_KEPT - 1;
        for n in last - KEYS_KEPT / 2..=last {
            assert_eq!(last_workers.get(AffinityKey::of(&n)), Some(at(n)));
        }
        assert!(last_workers.young.len() + last_workers.old.len() <= 2 * KEYS_KEPT);
    }
}
