//! The expected and the actual outcome of every task.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use procession::{ErrorKind, JoinError};

use crate::notes::Notes;

/// The outcomes of all tasks.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    /// The number of the next task.
    pub(crate) next: AtomicU64,
    /// The tasks that returned their number.
    done: Mutex<Vec<u64>>,
    pub(crate) counts: Mutex<BTreeMap<String, u64>>,
}

impl Accounts {
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn count(&self, what: impl ToString) {
        *self
            .counts
            .lock()
            .unwrap()
            .entry(what.to_string())
            .or_default() += 1;
    }

    /// Asserts that the outcome of task `number` is its number, an error of one of the `expected` kinds, or the
    /// kill of its worker.
    pub(crate) fn record(
        &self,
        number: u64,
        outcome: Result<u64, JoinError>,
        expected: &[ErrorKind],
    ) {
        match outcome {
            Ok(value) => {
                assert_eq!(value, number);
                self.done.lock().unwrap().push(number);
                self.count("Done");
            }
            Err(error) => {
                let killed = error.is_crashed() && error.signal() == Some(9);
                let allowed = killed || expected.contains(&error.kind());
                assert!(allowed, "{error:?}");
                assert!(error.started() || error.is_cancelled(), "{error:?}");
                self.count(format!("{:?}", error.kind()));
            }
        }
    }

    /// Asserts by the notes of the tasks that none ran twice, and that those which returned did run.
    pub(crate) fn compare(&self, notes: &Notes) {
        let mut runs = BTreeMap::<u64, u64>::new();
        for line in notes.read("ran") {
            *runs.entry(line.parse().unwrap()).or_default() += 1;
        }
        let twice: Vec<_> = runs.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "ran more than once: {twice:?}");
        let done = std::mem::take(&mut *self.done.lock().unwrap());
        let never: Vec<_> = done.iter().filter(|it| !runs.contains_key(it)).collect();
        assert!(never.is_empty(), "returned without running: {never:?}");
    }
}
