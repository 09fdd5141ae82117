//! A lock in shared memory: locking, taking over and unlocking.
//!
//! The order of the steps, and why no order of them goes wrong, is in the documentation of the module above.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::holder::{Holder, LocalTurn, MOST_LOCKS, Registration};
use super::word::{HolderNumber, LockWord};
use crate::sys::clock::Moment;
use crate::sys::memory::Mapping;

/// How many attempts find a lock held before the kernel is asked about its owner. Asking takes a microsecond.
const REFUSALS_PER_QUESTION: u32 = 16;

/// For how long a holder that the kernel does not know may own a lock.
const UNREGISTERED_TERM: Duration = Duration::from_secs(1);

/// A lock whose word lies at an offset in shared memory.
#[derive(Debug)]
pub(crate) struct SharedLock {
    mapping: Arc<Mapping>,
    at: usize,
    holder: Arc<Holder>,
    /// Which of the locks in its memory this is.
    index: usize,
    /// Whether a holder that the kernel does not know may own it.
    admits_unregistered: bool,
    /// How many attempts of this process have found the lock held.
    refusals: AtomicU32,
    /// A word with an unregistered owner, and when it was first seen.
    term: Mutex<Option<(LockWord, Moment)>>,
}

/// The result of an attempt to lock.
#[derive(Debug)]
pub(crate) enum TryLock<'a> {
    /// The caller owns the lock.
    Locked(LockGuard<'a>),
    /// The caller owns the lock and has taken it over: the last owner did not unlock it, or the word was overwritten.
    OwnerDied(LockGuard<'a>),
    /// Another thread owns the lock.
    Busy,
}

/// The lock, owned. Dropping it unlocks.
#[derive(Debug)]
pub(crate) struct LockGuard<'a> {
    word: &'a AtomicU64,
    held: LockWord,
    // Dropped after the word is released: without its turn, no thread of this process owns the lock.
    _turn: LocalTurn<'a>,
}

impl SharedLock {
    /// The lock `index` of a memory, whose word is at `at`. Memory that is all zero has free locks.
    pub(crate) fn new(mapping: Arc<Mapping>, at: usize, index: usize, holder: Arc<Holder>) -> Self {
        assert!(index < MOST_LOCKS);
        Self {
            mapping,
            at,
            holder,
            index,
            admits_unregistered: true,
            refusals: AtomicU32::new(0),
            term: Mutex::new(None),
        }
    }

    /// The lock, of which every holder is registered with the kernel.
    pub(crate) fn of_registered(self) -> Self {
        Self {
            admits_unregistered: false,
            ..self
        }
    }

    /// Tries to lock. If a process owns the lock, the kernel is asked now and then whether that process exists.
    #[inline]
    pub(crate) fn try_lock(&self) -> TryLock<'_> {
        self.attempt(false)
    }

    /// Tries to lock. If a process owns the lock, the kernel is asked at once whether that process exists.
    pub(crate) fn try_lock_asking(&self) -> TryLock<'_> {
        self.attempt(true)
    }

    #[inline]
    fn attempt(&self, asks: bool) -> TryLock<'_> {
        let Some(here) = self.holder.here() else {
            return TryLock::Busy;
        };
        let Some(turn) = here.take_turn(self.index) else {
            return TryLock::Busy;
        };
        let word = self.mapping.word(self.at);
        let found = LockWord::from_bits(word.load(Ordering::Relaxed));
        let owner = found.owner();
        if owner.is_some_and(|owner| !self.is_orphaned(found, owner, here, asks)) {
            return TryLock::Busy;
        }
        let held = found.acquired_by(here.number());
        let (found, next) = (found.to_bits(), held.to_bits());
        match word.compare_exchange(found, next, Ordering::Acquire, Ordering::Relaxed) {
            Err(_) => TryLock::Busy,
            Ok(_) => {
                let guard = LockGuard {
                    word,
                    held,
                    _turn: turn,
                };
                match owner {
                    None => TryLock::Locked(guard),
                    Some(_) => TryLock::OwnerDied(guard),
                }
            }
        }
    }

    /// Whether no thread owns the lock, although `found` names an owner. The caller has this process's turn.
    #[cold]
    fn is_orphaned(
        &self,
        found: LockWord,
        owner: HolderNumber,
        here: &Registration,
        asks: bool,
    ) -> bool {
        if owner == here.number() {
            return true;
        }
        let refusals = self
            .refusals
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(1);
        if !asks && refusals % REFUSALS_PER_QUESTION != 0 {
            return false;
        }
        match owner.in_kernel() {
            Some(number) => !here.is_registered(number),
            None => !self.admits_unregistered || self.term_is_over(found),
        }
    }

    /// Whether the word of an unregistered owner has not changed for its term.
    fn term_is_over(&self, found: LockWord) -> bool {
        let Ok(mut term) = self.term.try_lock() else {
            return false;
        };
        let now = Moment::now();
        match *term {
            Some((seen, since)) if seen == found => now.since(since) >= UNREGISTERED_TERM,
            _ => {
                *term = Some((found, now));
                false
            }
        }
    }
}

impl LockGuard<'_> {
    /// Whether the caller still owns the lock. To be asked before what was done under the lock is committed.
    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        self.word.load(Ordering::Relaxed) == self.held.to_bits()
    }
}

impl Drop for LockGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        let (held, released) = (self.held.to_bits(), self.held.released().to_bits());
        // It fails if the lock was taken over or overwritten. Then the word is not this thread's to change.
        let _ = self
            .word
            .compare_exchange(held, released, Ordering::Release, Ordering::Relaxed);
    }
}
