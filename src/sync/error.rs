//! Why an object could not be had.

use std::fmt;

/// A process has ended while it held the lock, and no process has recovered it since.
///
/// The value is complete: as before the process locked, or as it stored it. A value is stored as a whole. `recover`
/// gives the lock and ends the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Poisoned(pub(super) ());

impl fmt::Display for Poisoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a process has ended while it held the lock; call `recover` to look at the value and go on")
    }
}

impl std::error::Error for Poisoned {}

/// Why a lock could not be had at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryLockError {
    /// It is held, or kept for a party that waits.
    WouldBlock,
    /// A process has ended while it held the lock: see [`Poisoned`].
    Poisoned,
}

impl fmt::Display for TryLockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldBlock => f.write_str("the lock is held"),
            Self::Poisoned => Poisoned(()).fmt(f),
        }
    }
}

impl std::error::Error for TryLockError {}

impl From<Poisoned> for TryLockError {
    fn from(_: Poisoned) -> Self {
        Self::Poisoned
    }
}

/// The semaphore is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcquireError(pub(super) ());

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the semaphore is closed")
    }
}

impl std::error::Error for AcquireError {}

/// Why a permit could not be had at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryAcquireError {
    /// The semaphore is closed.
    Closed,
    /// There are too few permits.
    NoPermits,
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => AcquireError(()).fmt(f),
            Self::NoPermits => f.write_str("the semaphore has too few permits"),
        }
    }
}

impl std::error::Error for TryAcquireError {}

/// The barrier is broken: a party has died while it waited, or the barrier was aborted or reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken(pub(super) ());

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the barrier is broken: a party has died while it waited, or the barrier was aborted or reset")
    }
}

impl std::error::Error for Broken {}
