//! The word of a lock: its owner and its generation.
//!
//! Pure values. The upper half of the word is the number of the holder that owns the lock, or 0. The lower half counts
//! acquisitions and wraps: a generation comes again after 2³² of them, which no thread sleeps through between reading
//! the word and replacing it.

use std::num::NonZeroU32;

/// The bit of the numbers of holders that the kernel does not know.
const IS_UNREGISTERED: u32 = 1 << 31;

/// The number of a holder. Every value but 0 is the number of some holder or of none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HolderNumber(NonZeroU32);

impl HolderNumber {
    /// The number of a holder that is registered with the kernel under `number`, which is below 2³¹.
    pub(super) fn registered(number: NonZeroU32) -> Self {
        Self(number)
    }

    /// The number of a holder that could not register.
    pub(super) fn unregistered(number: NonZeroU32) -> Self {
        Self(number | IS_UNREGISTERED)
    }

    /// The number in the kernel, if the holder is registered.
    pub(super) fn in_kernel(self) -> Option<NonZeroU32> {
        (self.0.get() & IS_UNREGISTERED == 0).then_some(self.0)
    }
}

/// The value of a lock's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LockWord(u64);

impl LockWord {
    #[inline]
    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline]
    pub(super) fn to_bits(self) -> u64 {
        self.0
    }

    /// The holder that owns the lock; `None` if the lock is free.
    #[inline]
    pub(super) fn owner(self) -> Option<HolderNumber> {
        NonZeroU32::new((self.0 >> 32) as u32).map(HolderNumber)
    }

    /// The value after `holder` has acquired the lock, free or not.
    #[inline]
    pub(super) fn acquired_by(self, holder: HolderNumber) -> Self {
        Self(u64::from(holder.0.get()) << 32 | u64::from(self.generation().wrapping_add(1)))
    }

    /// The value after the owner has released the lock.
    #[inline]
    pub(super) fn released(self) -> Self {
        Self(u64::from(self.generation()))
    }

    #[inline]
    fn generation(self) -> u32 {
        self.0 as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u32) -> HolderNumber {
        HolderNumber(NonZeroU32::new(number).unwrap())
    }

    #[test]
    fn new_memory_is_a_free_lock() {
        assert_eq!(LockWord::from_bits(0).owner(), None);
    }

    #[test]
    fn every_acquisition_has_a_word_of_its_own() {
        let first = LockWord::from_bits(0).acquired_by(number(7));
        assert_eq!(first.owner(), Some(number(7)));
        assert_eq!(first.released().owner(), None);
        let second = first.released().acquired_by(number(7));
        let taken_over = first.acquired_by(number(8));
        assert_eq!(second.owner(), Some(number(7)));
        assert_eq!(taken_over.owner(), Some(number(8)));
        let again = taken_over.released().acquired_by(number(7));
        assert!(first != second && first != again && second != again);
        assert_ne!(first.acquired_by(number(7)), first);
    }

    #[test]
    fn every_value_can_be_acquired_and_released() {
        for bits in [
            0,
            1,
            u64::MAX,
            1 << 32,
            u64::from(u32::MAX),
            0xdead_beef_0bad_cafe,
        ] {
            let held = LockWord::from_bits(bits).acquired_by(number(u32::MAX));
            assert_eq!(held.owner(), Some(number(u32::MAX)));
            assert_eq!(held.released().owner(), None);
            assert_ne!(held, LockWord::from_bits(bits));
            assert_eq!(LockWord::from_bits(held.to_bits()), held);
        }
    }

    #[test]
    fn number_says_whether_the_kernel_knows_it() {
        let small = NonZeroU32::new(5).unwrap();
        assert_eq!(HolderNumber::registered(small).in_kernel(), Some(small));
        assert_eq!(HolderNumber::unregistered(small).in_kernel(), None);
        assert_ne!(
            HolderNumber::unregistered(small),
            HolderNumber::registered(small)
        );
    }
}
