//! A lock in shared memory that reports the death of its holder.
//!
//! A robust process-shared pthread mutex (`pthread_mutexattr_setrobust(3)`): the kernel walks a dying thread's list of
//! held locks and marks them, so the next `trylock` returns EOWNERDEAD. The lock is only ever *tried*: a blocking lock can
//! sleep for ever when a woken waiter is killed while a third process takes the lock.
//!
//! # Safety
//!
//! A pthread mutex must not move, and all its users must map it in the same way: it lies in a mapping that the value
//! keeps alive, at an offset that was checked. The creator of the memory initialises the mutex before another process has
//! the memory. A guard unlocks on the thread that locked, because it is neither `Send` nor held across an await.
#![allow(unsafe_code)]

use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::sync::Arc;

use super::memory::Mapping;

/// The bytes reserved for a mutex: more than the mutex of any libc takes.
pub(crate) const MUTEX_BYTES: usize = 64;

/// A lock at an offset in shared memory.
#[derive(Debug, Clone)]
pub(crate) struct RobustMutex {
    mapping: Arc<Mapping>,
    at: usize,
}

/// The result of [`RobustMutex::try_lock`].
#[derive(Debug)]
pub(crate) enum TryLock<'a> {
    /// The caller holds the lock.
    Locked(RobustGuard<'a>),
    /// The caller holds the lock, and the last holder died while it held the lock.
    OwnerDied(RobustGuard<'a>),
    /// Another thread holds the lock.
    Busy,
}

/// The lock, held. Dropping it unlocks.
#[derive(Debug)]
pub(crate) struct RobustGuard<'a> {
    mutex: &'a RobustMutex,
    // A pthread mutex belongs to a thread.
    not_send: PhantomData<*const ()>,
}

impl RobustMutex {
    /// The lock at `at`, which [`RobustMutex::create`] has initialised.
    pub(crate) fn open(mapping: Arc<Mapping>, at: usize) -> Self {
        assert!(at % 16 == 0 && at + MUTEX_BYTES <= mapping.len());
        assert!(size_of::<libc::pthread_mutex_t>() <= MUTEX_BYTES);
        Self { mapping, at }
    }

    /// Initialises a lock at `at`, in memory that no other process has yet.
    pub(crate) fn create(mapping: Arc<Mapping>, at: usize) -> io::Result<Self> {
        let mutex = Self::open(mapping, at);
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: initialises the attributes.
        check(unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: the attributes are initialised.
        let shared = unsafe {
            libc::pthread_mutexattr_setpshared(
                attributes.as_mut_ptr(),
                libc::PTHREAD_PROCESS_SHARED,
            )
        };
        check(shared)?;
        // SAFETY: the attributes are initialised.
        let robust = unsafe {
            libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST)
        };
        check(robust)?;
        // SAFETY: the mutex lies inside the mapping and is aligned, and no other process has the memory yet.
        check(unsafe { libc::pthread_mutex_init(mutex.raw(), attributes.as_ptr()) })?;
        Ok(mutex)
    }

    /// Tries to lock, without waiting.
    #[inline]
    pub(crate) fn try_lock(&self) -> TryLock<'_> {
        // SAFETY: an initialised mutex in a mapping that lives as long as this value.
        let tried = unsafe { libc::pthread_mutex_trylock(self.raw()) };
        let guard = || RobustGuard {
            mutex: self,
            not_send: PhantomData,
        };
        match tried {
            0 => TryLock::Locked(guard()),
            libc::EOWNERDEAD => {
                // SAFETY: held by this thread, as EOWNERDEAD says.
                unsafe { libc::pthread_mutex_consistent(self.raw()) };
                TryLock::OwnerDied(guard())
            }
            _ => TryLock::Busy,
        }
    }

    fn raw(&self) -> *mut libc::pthread_mutex_t {
        self.mapping.address(self.at).cast()
    }
}

impl Drop for RobustGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the guard exists because this thread holds the lock.
        unsafe { libc::pthread_mutex_unlock(self.mutex.raw()) };
    }
}

fn check(code: libc::c_int) -> io::Result<()> {
    match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::memory;

    fn mutex() -> RobustMutex {
        let memory = memory::memfd("mutex-test", 4096).unwrap();
        let mapping = Arc::new(Mapping::whole(&memory, 4096).unwrap());
        RobustMutex::create(mapping, 64).unwrap()
    }

    #[test]
    fn mutex_has_one_holder_at_a_time() {
        let mutex = mutex();
        let TryLock::Locked(guard) = mutex.try_lock() else {
            panic!("it was free");
        };
        let other = mutex.clone();
        let busy = std::thread::spawn(move || matches!(other.try_lock(), TryLock::Busy));
        assert!(busy.join().unwrap());
        drop(guard);
        assert!(matches!(mutex.try_lock(), TryLock::Locked(_)));
    }

    #[test]
    fn mutex_reports_the_death_of_its_holder_once() {
        let mutex = mutex();
        let other = mutex.clone();
        let dies = std::thread::spawn(move || {
            let TryLock::Locked(guard) = other.try_lock() else {
                panic!("it was free");
            };
            let _held = std::mem::ManuallyDrop::new(guard);
        });
        dies.join().unwrap();
        let TryLock::OwnerDied(guard) = mutex.try_lock() else {
            panic!("its holder is dead");
        };
        drop(guard);
        assert!(matches!(mutex.try_lock(), TryLock::Locked(_)));
    }
}
