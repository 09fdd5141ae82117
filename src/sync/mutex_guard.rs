//! The lock, held.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytemuck::Pod;

use super::local_side::LocalSide;
use super::mutex_word::MutexWord;
use super::value_copy::ValueCopy;

/// A lock that is held, with a copy of its value. Dropping it stores the value, if it may have been changed, and
/// unlocks.
///
/// It can be held across an await, and dropped in another thread.
#[must_use = "a lock is released when its guard is dropped"]
pub struct MutexGuard<'a, T: Pod> {
    side: &'a Arc<LocalSide>,
    held: MutexWord,
    value: ValueCopy<T>,
    /// The value may differ from the stored one.
    is_changed: bool,
}

impl<'a, T: Pod> MutexGuard<'a, T> {
    #[inline]
    pub(super) fn new(side: &'a Arc<LocalSide>, held: MutexWord) -> Self {
        let memory = &side.memory;
        Self {
            side,
            held,
            value: ValueCopy::filled_by(|out| memory.load_value(held.place(), out)),
            is_changed: false,
        }
    }

    pub(super) fn side(&self) -> &'a Arc<LocalSide> {
        self.side
    }
}

impl<T: Pod> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.value.value()
    }
}

impl<T: Pod> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.is_changed = true;
        self.value.value_mut()
    }
}

impl<T: Pod> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let side: &LocalSide = self.side;
        // In a forked copy of the process that locked, the lock is not held.
        if side.number() != self.held.owner() {
            return;
        }
        let state = side.memory.state();
        let mut word = MutexWord::from_bits(state.load(Ordering::Relaxed));
        if self.is_changed && word.is_acquisition(self.held) {
            let value = bytemuck::bytes_of(self.value.value());
            side.memory.store_value(!word.place(), value);
        }
        // Otherwise the owner was taken to be dead, or the word was overwritten: the lock is not this thread's.
        while word.is_acquisition(self.held) {
            let next = word.released(self.is_changed);
            let (from, to) = (word.to_bits(), next.to_bits());
            match state.compare_exchange_weak(from, to, Ordering::Release, Ordering::Relaxed) {
                Err(found) => word = MutexWord::from_bits(found),
                Ok(_) => {
                    if next.needs_call() {
                        side.serve(false);
                    }
                    return;
                }
            }
        }
    }
}

impl<T: Pod> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MutexGuard")
            .field("is_changed", &self.is_changed)
            .finish_non_exhaustive()
    }
}

impl<T: Pod + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
