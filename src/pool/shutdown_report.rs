//! What is left of a pool after its end.

use std::fmt;
use std::sync::Arc;

use super::driving::exit_call::ExitResults;
use crate::error::JoinError;

/// What the exit functions of a pool's workers have returned. Made by [`Pool::shutdown`](crate::Pool::shutdown).
///
/// A worker has an exit function if its pool was built with
/// [`PoolBuilder::worker_exit`](crate::PoolBuilder::worker_exit).
pub struct ShutdownReport {
    results: Arc<ExitResults>,
}

impl ShutdownReport {
    pub(super) fn new(results: &Arc<ExitResults>) -> Self {
        Self {
            results: Arc::clone(results),
        }
    }

    /// What the exit functions returned, in the order in which the workers left. Recycled workers are among them.
    ///
    /// Values of another type than `T` are not. Each value is returned once, whichever report of the pool is asked. Of
    /// more than 65,536 values the oldest are dropped.
    pub fn results<T: 'static>(&self) -> Vec<T> {
        self.results.take()
    }

    /// Why there are fewer results than workers that left: exit functions that panicked, for example.
    pub fn errors(&self) -> Vec<JoinError> {
        self.results.errors()
    }
}

impl fmt::Debug for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.results.fmt(f)
    }
}
