//! A lock for reading and writing, held.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use bytemuck::Pod;

use super::enrolment::Enrolment;
use super::local_side::LocalSide;
use super::party_word::PartyState;
use super::rwlock_serving;
use super::value_copy::ValueCopy;

/// A lock that is held for reading, with a copy of its value. Dropping it unlocks.
#[must_use = "a lock is released when its guard is dropped"]
pub struct RwLockReadGuard<'a, T: Pod> {
    value: ValueCopy<T>,
    _entered: Enrolment,
    _lock: PhantomData<&'a ()>,
}

/// A lock that is held for writing, with a copy of its value. Dropping it stores the value, if it may have been
/// changed, and unlocks.
#[must_use = "a lock is released when its guard is dropped"]
pub struct RwLockWriteGuard<'a, T: Pod> {
    side: &'a Arc<LocalSide>,
    value: ValueCopy<T>,
    is_changed: bool,
    // Dropped after the value is stored.
    entered: Enrolment,
}

impl<'a, T: Pod> RwLockReadGuard<'a, T> {
    pub(super) fn new(side: &'a Arc<LocalSide>, mut entered: Enrolment) -> Self {
        entered.stop_sleeping();
        Self {
            value: ValueCopy::filled_by(|out| rwlock_serving::load(side, out)),
            _entered: entered,
            _lock: PhantomData,
        }
    }
}

impl<'a, T: Pod> RwLockWriteGuard<'a, T> {
    pub(super) fn new(side: &'a Arc<LocalSide>, mut entered: Enrolment) -> Self {
        entered.stop_sleeping();
        Self {
            side,
            value: ValueCopy::filled_by(|out| rwlock_serving::load(side, out)),
            is_changed: false,
            entered,
        }
    }

    /// The guard of a party that recovers.
    pub(super) fn repairing(side: &'a Arc<LocalSide>, entered: Enrolment) -> Self {
        rwlock_serving::clear_poison(side);
        Self::new(side, entered)
    }
}

impl<T: Pod> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.value()
    }
}

impl<T: Pod> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.value()
    }
}

impl<T: Pod> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.is_changed = true;
        self.value.value_mut()
    }
}

impl<T: Pod> Drop for RwLockWriteGuard<'_, T> {
    fn drop(&mut self) {
        // Not if the party was taken to be dead, or this is a forked copy of its process.
        if self.is_changed && self.entered.state() == Some(PartyState::Granted) {
            rwlock_serving::store(self.side, bytemuck::bytes_of(self.value.value()));
        }
    }
}

impl<T: Pod> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RwLockReadGuard").finish_non_exhaustive()
    }
}

impl<T: Pod> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RwLockWriteGuard")
            .field("is_changed", &self.is_changed)
            .finish_non_exhaustive()
    }
}
