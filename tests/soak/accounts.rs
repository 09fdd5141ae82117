//! Which task has promised what, and what came of it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use procession::{ErrorKind, JoinError};

use crate::notes::Desk;

/// Who has promised what, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    /// The next task's number.
    pub(crate) next: AtomicU64,
    /// Tasks that said they were done.
    pub(crate) done: Mutex<Vec<u64>>,
    pub(crate) counts: Mutex<BTreeMap<String, u64>>,
}

impl Accounts {
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn count(&self, what: impl ToString) {
        *self
            .counts
            .lock()
            .unwrap()
            .entry(what.to_string())
            .or_default() += 1;
    }

    /// Task `number` has this outcome, whose value must be its number. Its failure must be one of these
    /// or the death of its worker.
    pub(crate) fn settle(
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
                let right = killed || expected.contains(&error.kind());
                assert!(right, "{error:?}");
                assert!(error.started() || error.is_cancelled(), "{error:?}");
                self.count(format!("{:?}", error.kind()));
            }
        }
    }

    /// What the tasks themselves say: none ran twice, and those that are done ran.
    pub(crate) fn compare(&self, desk: &Desk) {
        let mut runs = BTreeMap::<u64, u64>::new();
        for line in desk.read("ran") {
            *runs.entry(line.parse().unwrap()).or_default() += 1;
        }
        let twice: Vec<_> = runs.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "ran more than once: {twice:?}");
        let done = std::mem::take(&mut *self.done.lock().unwrap());
        let never: Vec<_> = done.iter().filter(|it| !runs.contains_key(it)).collect();
        assert!(never.is_empty(), "said to be done: {never:?}");
    }
}
