//! Permits of a semaphore, held.

use std::marker::PhantomData;

use super::enrolment::Enrolment;
use super::owned_permit::{OwnedSemaphorePermit, forget};

/// Permits of a semaphore. Dropping them gives them back.
#[derive(Debug)]
#[must_use = "permits are given back when they are dropped"]
pub struct SemaphorePermit<'a> {
    held: Enrolment,
    semaphore: PhantomData<&'a ()>,
}

impl SemaphorePermit<'_> {
    pub(super) fn new(mut held: Enrolment) -> Self {
        held.stop_sleeping();
        Self {
            held,
            semaphore: PhantomData,
        }
    }

    /// How many permits these are.
    pub fn num_permits(&self) -> usize {
        num_permits(&self.held)
    }

    /// Removes the permits from the semaphore for good.
    pub fn forget(self) {
        // In this order: a process that is killed in between has forgotten its permits.
        forget(self.held.side(), self.held.party().amount);
        self.held.end();
    }

    pub(super) fn into_owned(self) -> OwnedSemaphorePermit {
        OwnedSemaphorePermit::new(self.held)
    }
}

fn num_permits(held: &Enrolment) -> usize {
    usize::try_from(held.party().amount).unwrap_or(usize::MAX)
}
