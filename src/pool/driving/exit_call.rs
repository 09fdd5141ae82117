//! The call of a pool's exit function in one worker, and what all those calls have returned.
//!
//! Lives in the application; the function runs in the worker. It is a call like any other, sent in the worker's ring
//! under a key that no task has.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::call::common_arguments::CommonArguments;
use crate::call::job::Job;
use crate::call::single::{OneCall, TryWith};
use crate::error::JoinError;
use crate::task::Call;

/// The key under which exit functions are sent. No task has it.
pub(in crate::pool) const EXIT_TASK: u64 = 1;

/// The most values, and the most errors, that are kept. A pool that recycles its workers for months must not grow.
const MOST_KEPT: usize = 1 << 16;

/// Makes the job of an exit function, once for every worker. What it returns is kept in the results.
pub(in crate::pool) type ExitFunction =
    Arc<dyn Fn(&Arc<ExitResults>) -> Arc<dyn Job> + Send + Sync>;

/// An exit function that calls `C`, with the same arguments in every worker.
pub(in crate::pool) fn exit_function<C: Call>(arguments: C::Args) -> ExitFunction {
    let arguments = CommonArguments::new(arguments);
    Arc::new(move |results| {
        Arc::new(ExitCall::<C> {
            arguments: arguments.clone(),
            results: Arc::clone(results),
        })
    })
}

/// What the exit functions of a pool's workers have returned, oldest first.
#[derive(Default)]
pub(in crate::pool) struct ExitResults {
    values: Mutex<VecDeque<Box<dyn Any + Send>>>,
    errors: Mutex<VecDeque<JoinError>>,
}

impl ExitResults {
    /// Takes the values of type `T`.
    pub(in crate::pool) fn take<T: 'static>(&self) -> Vec<T> {
        let mut values = lock(&self.values);
        let (found, others): (VecDeque<_>, _) = std::mem::take(&mut *values)
            .into_iter()
            .partition(|it| it.is::<T>());
        *values = others;
        drop(values);
        let found = found.into_iter().filter_map(|it| it.downcast::<T>().ok());
        found.map(|it| *it).collect()
    }

    /// Why values are missing.
    pub(in crate::pool) fn errors(&self) -> Vec<JoinError> {
        lock(&self.errors).iter().cloned().collect()
    }

    fn add(&self, outcome: Result<Box<dyn Any + Send>, JoinError>) {
        match outcome {
            Ok(value) => drop(keep(&self.values, value)),
            Err(error) => drop(keep(&self.errors, error)),
        }
    }
}

/// Adds the newest. Returns the oldest, if there are too many, to be dropped where no lock is held.
fn keep<T>(all: &Mutex<VecDeque<T>>, newest: T) -> Option<T> {
    let mut all = lock(all);
    all.push_back(newest);
    match all.len() > MOST_KEPT {
        true => all.pop_front(),
        false => None,
    }
}

fn lock<T>(all: &Mutex<VecDeque<T>>) -> MutexGuard<'_, VecDeque<T>> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for ExitResults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExitResults")
            .field("values", &lock(&self.values).len())
            .field("errors", &lock(&self.errors).len())
            .finish()
    }
}

struct ExitCall<C: Call> {
    arguments: CommonArguments<C::Args>,
    results: Arc<ExitResults>,
}

impl<C: Call> OneCall for ExitCall<C> {
    type Call = C;

    fn with_arguments<T>(&self, f: impl FnOnce(&C::Args) -> T) -> Option<T> {
        Some(self.arguments.with(f))
    }

    fn try_with_arguments<T>(&self, f: impl FnOnce(&C::Args) -> T) -> TryWith<T> {
        self.arguments.try_with(f)
    }

    fn settle(&self, outcome: Result<C::Output, JoinError>) {
        self.results
            .add(outcome.map(|value| Box::new(value) as Box<dyn Any + Send>));
    }
}

impl<C: Call> fmt::Debug for ExitCall<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExitCall({})", C::name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_by_their_type_in_order() {
        let results = ExitResults::default();
        for value in [1_u32, 2] {
            results.add(Ok(Box::new(value)));
            results.add(Ok(Box::new(value.to_string())));
        }
        assert_eq!(results.take::<u32>(), [1, 2]);
        assert_eq!(results.take::<u32>(), []);
        assert_eq!(results.take::<String>(), ["1", "2"]);
    }

    #[test]
    fn no_more_than_a_bounded_number_of_values_is_kept() {
        let results = ExitResults::default();
        for value in 0..=MOST_KEPT {
            results.add(Ok(Box::new(value)));
        }
        let kept = results.take::<usize>();
        assert_eq!((kept.len(), kept[0]), (MOST_KEPT, 1));
    }
}
