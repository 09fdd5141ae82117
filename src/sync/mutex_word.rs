//! The word of a mutex: its owner, and what unlocking must know.
//!
//! Pure values. The upper half is the number of the process that owns the lock, or 0. Below it a generation counts
//! acquisitions, and five flags say what else is so.

use std::num::NonZeroU32;

/// The value of a mutex's word. Every value is the word of some lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct MutexWord(u64);

/// A party may wait.
const WAITED_FOR: u64 = 1;
/// A party was called, and has not tried yet.
const CALLED: u64 = 2;
/// Only the called party may lock.
const RESERVED: u64 = 4;
/// An owner has died, and no process has recovered the value.
const POISONED: u64 = 8;
/// Which of the two places has the value.
const VALUE_IS_SECOND: u64 = 16;
const GENERATION: u64 = 0xffff_ffe0;
const ONE_GENERATION: u64 = 32;
const OWNER_SHIFT: u32 = 32;

impl MutexWord {
    #[inline]
    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline]
    pub(super) fn to_bits(self) -> u64 {
        self.0
    }

    /// The number of the process that owns the lock.
    #[inline]
    pub(super) fn owner(self) -> Option<NonZeroU32> {
        NonZeroU32::new((self.0 >> OWNER_SHIFT) as u32)
    }

    /// Whether any thread may lock: the lock has no owner, is not reserved, and its value is healthy.
    #[inline]
    pub(super) fn is_open(self) -> bool {
        self.owner().is_none() && self.0 & (RESERVED | POISONED) == 0
    }

    #[inline]
    pub(super) fn is_poisoned(self) -> bool {
        self.0 & POISONED != 0
    }

    #[inline]
    pub(super) fn is_reserved(self) -> bool {
        self.0 & RESERVED != 0
    }

    /// Whether unlocking has to call a waiting party.
    #[inline]
    pub(super) fn needs_call(self) -> bool {
        self.0 & (WAITED_FOR | CALLED) == WAITED_FOR
    }

    #[inline]
    pub(super) fn place(self) -> bool {
        self.0 & VALUE_IS_SECOND != 0
    }

    /// The value after `number` has locked. A party that was called takes its call back with that.
    #[inline]
    pub(super) fn locked_by(self, number: NonZeroU32, was_called: bool) -> Self {
        let called = if was_called { CALLED | RESERVED } else { 0 };
        let flags = self.0 & (WAITED_FOR | CALLED | RESERVED | VALUE_IS_SECOND) & !called;
        let generation = self.0.wrapping_add(ONE_GENERATION) & GENERATION;
        Self(u64::from(number.get()) << OWNER_SHIFT | generation | flags)
    }

    /// Whether this is the word of the same acquisition as `held`.
    #[inline]
    pub(super) fn is_acquisition(self, held: Self) -> bool {
        let identity = !(GENERATION | (u64::MAX << OWNER_SHIFT));
        (self.0 | identity) == (held.0 | identity)
    }

    /// The value after the owner has unlocked, and stored a new value in the other place if `stored`.
    #[inline]
    pub(super) fn released(self, stored: bool) -> Self {
        let kept = self.0 & (GENERATION | WAITED_FOR | CALLED | RESERVED | VALUE_IS_SECOND);
        Self(kept ^ if stored { VALUE_IS_SECOND } else { 0 })
    }

    /// The value after the owner was found dead.
    pub(super) fn orphaned(self) -> Self {
        Self(self.0 & (GENERATION | WAITED_FOR | VALUE_IS_SECOND) | POISONED)
    }

    /// A party waits.
    pub(super) fn waited_for(self) -> Self {
        Self(self.0 | WAITED_FOR)
    }

    /// No party waits.
    pub(super) fn not_waited_for(self) -> Self {
        Self(self.0 & !(WAITED_FOR | CALLED | RESERVED))
    }

    /// A party is called, and has the lock reserved if it waited for long.
    pub(super) fn calling(self, reserves: bool) -> Self {
        let reserved = if reserves { RESERVED } else { 0 };
        Self(self.0 & !RESERVED | WAITED_FOR | CALLED | reserved)
    }

    /// The called party waits again, or has left.
    pub(super) fn not_calling(self) -> Self {
        Self(self.0 & !(CALLED | RESERVED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: NonZeroU32 = NonZeroU32::MIN;

    #[test]
    fn new_memory_is_an_open_lock() {
        assert!(MutexWord::from_bits(0).is_open());
    }

    #[test]
    fn value_moves_when_it_was_stored_and_not_before() {
        let free = MutexWord::from_bits(0);
        let held = free.locked_by(ME, false);
        assert!(!held.is_open() && held.place() == free.place());
        assert_eq!(held.released(false).place(), free.place());
        assert_ne!(held.released(true).place(), free.place());
        assert_eq!(held.orphaned().place(), free.place());
    }

    #[test]
    fn every_acquisition_is_told_from_the_next() {
        let first = MutexWord::from_bits(0).locked_by(ME, false);
        assert!(first.is_acquisition(first.waited_for()));
        let second = first.released(true).locked_by(ME, false);
        assert!(!second.is_acquisition(first));
        assert!(!first.orphaned().is_acquisition(first));
    }

    #[test]
    fn recovering_and_calling_leave_no_flag_behind() {
        let poisoned = MutexWord::from_bits(0).locked_by(ME, false).orphaned();
        assert!(!poisoned.is_open() && poisoned.is_poisoned());
        assert!(poisoned.locked_by(ME, false).released(false).is_open());
        let reserved = MutexWord::from_bits(0).calling(true);
        assert!(!reserved.is_open() && !reserved.needs_call());
        assert!(reserved.not_calling().needs_call() && reserved.not_calling().is_open());
        let held = reserved.locked_by(ME, true);
        assert!(held.needs_call() && !held.is_reserved());
    }

    #[test]
    fn every_value_can_be_orphaned_and_recovered() {
        let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..1000 {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            let word = MutexWord::from_bits(bits).orphaned();
            assert!(word.owner().is_none() && word.is_poisoned());
            let word = word.locked_by(ME, true).released(true).not_waited_for();
            assert!(word.is_open(), "{bits:x}");
        }
    }
}
