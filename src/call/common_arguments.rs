//! Arguments that are the same in every worker: those of initializers, of the exit function and of a broadcast.
//!
//! Lives in the application. They are encoded for each worker anew, because they may hold descriptors; by one thread at
//! a time, because they may not be `Sync`.
//!
//! Must stay true: a thread of the runtime never waits while another encodes them, which may take long.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use super::single::TryWith;

/// See the module.
pub(crate) struct CommonArguments<A>(Arc<Mutex<A>>);

impl<A> CommonArguments<A> {
    pub(crate) fn new(arguments: A) -> Self {
        Self(Arc::new(Mutex::new(arguments)))
    }

    /// Gives them to `f`. Waits while another thread has them.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&A) -> T) -> T {
        f(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives them to `f`, unless another thread has them.
    pub(crate) fn try_with<T>(&self, f: impl FnOnce(&A) -> T) -> TryWith<T> {
        match self.0.try_lock() {
            Ok(arguments) => TryWith::Done(f(&arguments)),
            Err(TryLockError::Poisoned(poisoned)) => TryWith::Done(f(&poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => TryWith::Busy,
        }
    }
}

impl<A> Clone for CommonArguments<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A> fmt::Debug for CommonArguments<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CommonArguments")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_another_thread_has_are_not_waited_for() {
        let arguments = CommonArguments::new(7);
        let other = arguments.clone();
        arguments.with(|_| {
            let looked = std::thread::spawn(move || other.try_with(|it| *it)).join();
            assert!(matches!(looked, Ok(TryWith::Busy)));
        });
        assert!(matches!(arguments.try_with(|it| *it), TryWith::Done(7)));
    }
}
