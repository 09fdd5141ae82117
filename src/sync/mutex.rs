//! A lock with a value.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytemuck::Pod;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::{Poisoned, TryLockError};
use super::local_side;
use super::local_side::LocalSide;
use super::mutex_guard::MutexGuard;
use super::mutex_locking::{Locking, Recovering, attempt, lock_blocking};
use super::mutex_serving::{TO_LOCK, TO_RECOVER};
use super::mutex_word::MutexWord;
use super::object_kind::ObjectKind;

/// A lock with a value that processes share, as `tokio::sync::Mutex` is for tasks.
///
/// The value is plain data in shared memory ([`bytemuck::Pod`]). A handle can be cloned, and sent to another process
/// inside an argument, a result or a message; all handles are the same lock. Nothing has a name in the file system, and
/// the kernel frees all of it with the last handle.
///
/// # The value
///
/// Another process can write the memory at any time, also while this one holds the lock, so no reference into the
/// memory exists. The guard has a copy. A guard that was dereferenced mutably stores the copy as a whole when it is
/// dropped: beside the old value, which it then replaces in one step. So the value is never torn, however its writer
/// ends. A value of more than 64 bytes is copied to the heap; keep it small, or share large data by other means.
///
/// # The owner's end
///
/// A process that ends while it holds the lock poisons it: [`lock`](Self::lock) is [`Poisoned`] until a process calls
/// [`recover`](Self::recover). All that wait are told at once. A panic does not poison: it drops the guard, which
/// unlocks. A guard in a forked copy of a process (`fork(2)`) is not that copy's: dropping it there does nothing.
///
/// # Fairness
///
/// Tasks that wait in [`lock`](Self::lock) lock in the order in which they began to wait, and no later caller locks
/// before them. So a future of `lock` that was polled and is not polled any more keeps the others waiting, until it is
/// dropped, as in Tokio. A thread in [`blocking_lock`](Self::blocking_lock) can be overtaken until it has waited for a
/// millisecond. Up to 4096 tasks and threads of all processes wait in order; more try again each millisecond.
///
/// # It is not reentrant
///
/// Locking again in the task that holds the lock waits for ever, as in Tokio. A task may continue in another thread,
/// and two tasks may share a thread, so neither identifies the holder. And a lock that its holder can take twice does
/// not tell the inner code that the value is half changed. Let the function that locks call a function that takes
/// `&mut T`.
///
/// # Hostile processes
///
/// A process that overwrites the memory harms processes with a handle of the same lock, and no others: they may see any
/// value, find the lock poisoned, or wait until that process ends.
///
/// ```
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession::sync::Mutex;
///
/// async fn count(total: Mutex<u64>, n: u64) {
///     *total.lock().await.unwrap() += n;
/// }
///
/// let total = Mutex::new(0_u64)?;
/// let pool = procession::Pool::with_workers(2)?;
/// pool.map(count, (1..=10).map(|n| (total.clone(), n))).await?;
/// assert_eq!(*total.lock().await?, 55);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "Lock")]
#[doc(alias = "RLock")]
#[doc(alias = "Value")]
pub struct Mutex<T> {
    pub(super) side: Arc<LocalSide>,
    value: PhantomData<fn() -> T>,
}

impl<T: Pod> Mutex<T> {
    /// Makes a lock with `value` in it.
    ///
    /// # Errors
    ///
    /// The kernel has no memory or no descriptors left, or the value is larger than 1 GiB. A lock takes four
    /// descriptors in each process, and one more where a task waits. The process has no `/proc`.
    pub fn new(value: T) -> io::Result<Self> {
        let side = LocalSide::create(ObjectKind::Mutex, 0, size_of::<T>())?;
        side.memory.store_value(false, bytemuck::bytes_of(&value));
        Ok(Self {
            side,
            value: PhantomData,
        })
    }

    /// Locks when no other task, thread or process holds the lock.
    ///
    /// # Errors
    ///
    /// A process has ended while it held the lock, and the lock was not recovered since.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped before it is ready, it has given up its place among the waiters, and passed on what it
    /// was given.
    #[doc(alias = "acquire")]
    pub fn lock(
        &self,
    ) -> impl Future<Output = Result<MutexGuard<'_, T>, Poisoned>> + Send + Unpin + use<'_, T> {
        Locking::new(&self.side, TO_LOCK)
    }

    /// As [`lock`](Self::lock), blocking this thread. Not for async code.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock).
    #[inline]
    pub fn blocking_lock(&self) -> Result<MutexGuard<'_, T>, Poisoned> {
        lock_blocking(&self.side, TO_LOCK)
    }

    /// Locks if the lock can be had now.
    ///
    /// # Errors
    ///
    /// The lock is held or kept for a party that waits, or it is poisoned.
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, TryLockError> {
        if let Some(locked) = attempt(&self.side, TO_LOCK, false) {
            return Ok(MutexGuard::new(&self.side, locked?));
        }
        // The owner may have died, or the party for which the lock is kept.
        if !self.side.serve(true) {
            let is_decided = |word: MutexWord| word.owner().is_some() || word.is_open();
            self.side.serve_until(true, || is_decided(self.word()));
        }
        match attempt(&self.side, TO_LOCK, false) {
            Some(locked) => Ok(MutexGuard::new(&self.side, locked?)),
            None => Err(TryLockError::WouldBlock),
        }
    }

    /// Locks as [`lock`](Self::lock) does, and makes a poisoned lock healthy.
    ///
    /// The value is the last that was stored. It may be one in the middle of what the dead process was doing in several
    /// steps, each with the lock.
    ///
    /// # Cancel safety
    ///
    /// As [`lock`](Self::lock). The lock stays poisoned until this is ready.
    pub fn recover(&self) -> impl Future<Output = MutexGuard<'_, T>> + Send + Unpin + use<'_, T> {
        Recovering(Locking::new(&self.side, TO_RECOVER))
    }

    /// As [`recover`](Self::recover), blocking this thread. Not for async code.
    pub fn blocking_recover(&self) -> MutexGuard<'_, T> {
        loop {
            // A request to recover is never refused.
            if let Ok(guard) = lock_blocking(&self.side, TO_RECOVER) {
                return guard;
            }
        }
    }

    /// Whether a task, a thread or a process holds the lock now.
    #[doc(alias = "locked")]
    pub fn is_locked(&self) -> bool {
        self.word_after_look().owner().is_some()
    }

    /// Whether a process has ended while it held the lock, and the lock was not recovered since.
    pub fn is_poisoned(&self) -> bool {
        self.word_after_look().is_poisoned()
    }

    /// The word, after its owner was found alive.
    fn word_after_look(&self) -> MutexWord {
        match self.word() {
            owned if owned.owner().is_some() => {
                self.side.serve(true);
                self.word()
            }
            free => free,
        }
    }
}

impl<T> Mutex<T> {
    fn word(&self) -> MutexWord {
        MutexWord::from_bits(self.side.memory.state().load(Ordering::Acquire))
    }
}

impl<T> Clone for Mutex<T> {
    fn clone(&self) -> Self {
        Self {
            side: Arc::clone(&self.side),
            value: PhantomData,
        }
    }
}

impl<T> Serialize for Mutex<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        local_side::serialize(&self.side, serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for Mutex<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let side = local_side::deserialize(deserializer, ObjectKind::Mutex, size_of::<T>())?;
        Ok(Self {
            side,
            value: PhantomData,
        })
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.word();
        f.debug_struct("Mutex")
            .field("is_locked", &word.owner().is_some())
            .field("is_poisoned", &word.is_poisoned())
            .finish_non_exhaustive()
    }
}
