//! The word of a mutex: its owner, and what unlocking must know.
//!
//! Pure values. The upper half is the number of the process that owns the lock, or 0. Below it a generation counts
//! acquisitions, and six flags say what else is so. While the lock has no owner, the generation also counts the parties
//! that begin to wait: a decision for which a server has read the table before cannot replace the word then.

use std::num::NonZeroU32;

/// The value of a mutex's word. Every value is the word of some lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct MutexWord(u64);

/// How a party is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MutexCall {
    /// No other may lock until the called party has.
    pub(super) reserves: bool,
    /// Its unlocking has to call the next.
    pub(super) others_wait: bool,
    /// No other may lock until the next is called.
    pub(super) others_wait_in_order: bool,
}

/// A party may wait.
const WAITED_FOR: u64 = 1;
/// A party was called, and has not tried yet.
const CALLED: u64 = 2;
/// Only the called party may lock. Its locking ends this.
const RESERVED: u64 = 4;
/// A party may wait that is not overtaken: only a called party may lock. Locking and unlocking do not end this.
const IN_ORDER: u64 = 8;
/// An owner has died, and no process has recovered the value.
const POISONED: u64 = 16;
/// Which of the two places has the value.
const VALUE_IS_SECOND: u64 = 32;
const GENERATION: u64 = 0xffff_ffc0;
const ONE_GENERATION: u64 = 64;
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

    /// Whether any thread may lock: the lock has no owner, is kept for no party, and its value is healthy.
    #[inline]
    pub(super) fn is_open(self) -> bool {
        self.owner().is_none() && self.0 & (RESERVED | IN_ORDER | POISONED) == 0
    }

    #[inline]
    pub(super) fn is_poisoned(self) -> bool {
        self.0 & POISONED != 0
    }

    /// Whether only a called party may lock.
    #[inline]
    pub(super) fn is_kept(self) -> bool {
        self.0 & (RESERVED | IN_ORDER) != 0
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
        let flags = self.0 & (WAITED_FOR | CALLED | RESERVED | IN_ORDER | VALUE_IS_SECOND);
        let generation = self.0.wrapping_add(ONE_GENERATION) & GENERATION;
        Self(u64::from(number.get()) << OWNER_SHIFT | generation | flags & !called)
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
        let flags = WAITED_FOR | CALLED | RESERVED | IN_ORDER | VALUE_IS_SECOND;
        Self(self.0 & (GENERATION | flags) ^ if stored { VALUE_IS_SECOND } else { 0 })
    }

    /// The value after the owner was found dead.
    pub(super) fn orphaned(self) -> Self {
        let kept = GENERATION | WAITED_FOR | IN_ORDER | VALUE_IS_SECOND;
        Self(self.not_calling().0 & kept | POISONED)
    }

    /// A party waits, which is overtaken by none that comes later if it waits `in_order`.
    pub(super) fn waited_for(self, in_order: bool) -> Self {
        let flags = WAITED_FOR | if in_order { IN_ORDER } else { 0 };
        let generation = match self.owner() {
            // The generation is the owner's. No decision about the parties that wait is made from this word.
            Some(_) => self.0 & GENERATION,
            None => self.0.wrapping_add(ONE_GENERATION) & GENERATION,
        };
        Self(self.0 & !GENERATION | generation | flags)
    }

    /// No party waits.
    pub(super) fn not_waited_for(self) -> Self {
        Self(self.0 & !(WAITED_FOR | CALLED | RESERVED | IN_ORDER))
    }

    /// A party is called.
    pub(super) fn calling(self, call: MutexCall) -> Self {
        let flags = [
            (call.reserves, RESERVED),
            (call.others_wait, WAITED_FOR),
            (call.others_wait_in_order, IN_ORDER),
        ];
        let set = flags.iter().filter(|(is_set, _)| *is_set);
        let flags = set.fold(CALLED, |flags, (_, flag)| flags | flag);
        Self(self.not_waited_for().0 | flags)
    }

    /// The called party waits again, or has left. What the lock was kept for is not known until the next is called.
    pub(super) fn not_calling(self) -> Self {
        let set = |flag, sets| if self.0 & flag == 0 { 0 } else { sets };
        let flags = set(CALLED, WAITED_FOR) | set(RESERVED, WAITED_FOR | IN_ORDER);
        Self(self.0 & !(CALLED | RESERVED) | flags)
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
        assert!(first.is_acquisition(first.waited_for(false)));
        let second = first.released(true).locked_by(ME, false);
        assert!(!second.is_acquisition(first));
        assert!(!first.orphaned().is_acquisition(first));
    }

    fn call(reserves: bool, others_wait: bool, others_wait_in_order: bool) -> MutexCall {
        MutexCall {
            reserves,
            others_wait,
            others_wait_in_order,
        }
    }

    #[test]
    fn recovering_and_calling_leave_no_flag_behind() {
        let poisoned = MutexWord::from_bits(0).locked_by(ME, false).orphaned();
        assert!(!poisoned.is_open() && poisoned.is_poisoned());
        assert!(poisoned.locked_by(ME, false).released(false).is_open());
        let reserved = MutexWord::from_bits(0).calling(call(true, false, false));
        assert!(!reserved.is_open() && !reserved.needs_call());
        let held = reserved.locked_by(ME, true);
        assert!(!held.needs_call() && held.released(false).is_open());
        let left = reserved.not_calling();
        assert!(left.needs_call() && !left.is_open());
        assert!(left.not_waited_for().is_open());
    }

    #[test]
    fn lock_stays_kept_for_parties_that_wait_in_order() {
        let free = MutexWord::from_bits(0);
        let waited_for = free.locked_by(ME, false).waited_for(true);
        let released = waited_for.released(true);
        assert!(released.is_kept() && released.needs_call());
        for others_wait in [true, false] {
            let called = released.calling(call(true, others_wait, others_wait));
            let again = called.locked_by(ME, true).released(false);
            assert_eq!(
                (again.is_kept(), again.needs_call()),
                (others_wait, others_wait)
            );
        }
        let by_thread = free.locked_by(ME, false).waited_for(false).released(false);
        assert!(by_thread.is_open() && by_thread.needs_call());
        // A thread was called, is overtaken, and waits again beside a task.
        let called = by_thread.calling(call(false, false, false));
        let overtaken = called.locked_by(ME, false);
        assert!(overtaken.not_calling().needs_call() && !overtaken.needs_call());
        let beside_task = overtaken.waited_for(true).released(false);
        assert!(beside_task.not_calling().is_kept());
    }

    #[test]
    fn party_that_begins_to_wait_makes_the_word_another() {
        let free = MutexWord::from_bits(0).waited_for(true);
        assert_ne!(free, free.waited_for(true));
        let held = free.locked_by(ME, true);
        assert!(held.waited_for(true).is_acquisition(held));
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
