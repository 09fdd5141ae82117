//! The word of an event, and which waits it ends.

use std::sync::atomic::Ordering;

use super::local_side::LocalSide;
use super::party_word::PartyState;
use super::serving::Serving;

/// Whether the flag is set, and how often it was. A wait notes how often, so that it sees a flag that was set and
/// cleared since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventWord(u64);

const IS_SET: u64 = 1;
const ONE_TIME: u64 = 2;

impl EventWord {
    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) fn is_set(self) -> bool {
        self.0 & IS_SET != 0
    }

    pub(super) fn times_set(self) -> u64 {
        self.0 / ONE_TIME
    }

    /// What a wait notes that begins now. If the flag is set, the wait is over, also if the flag is cleared at once.
    pub(super) fn begins_wait(self) -> u64 {
        self.times_set().wrapping_sub(u64::from(self.is_set()))
    }

    pub(super) fn set(self) -> Self {
        match self.is_set() {
            true => self,
            false => Self(self.0.wrapping_add(ONE_TIME) | IS_SET),
        }
    }

    pub(super) fn cleared(self) -> Self {
        Self(self.0 & !IS_SET)
    }

    /// Whether a wait is over that began when the flag had been set so often.
    pub(super) fn ends_wait(self, times_set: u64) -> bool {
        self.is_set() || self.times_set() != times_set
    }
}

pub(super) fn change(side: &LocalSide, change: fn(EventWord) -> EventWord) {
    let next = |bits| Some(change(EventWord(bits)).0);
    // Never an error: there is always a next value.
    let state = side.memory.state();
    let _ = state.fetch_update(Ordering::SeqCst, Ordering::Relaxed, next);
}

/// Wakes the parties whose wait is over. They look at the word themselves.
pub(super) fn serve(serving: &mut Serving<'_>) {
    let word = EventWord(serving.side.memory.state().load(Ordering::SeqCst));
    serving.set_all(PartyState::Granted, |party| {
        party.word.state() == Some(PartyState::Waiting) && word.ends_wait(party.amount)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flag_that_was_set_and_cleared_ends_the_waits_before_it_only() {
        let before = EventWord(0);
        let set = before.set();
        assert!(set.is_set() && set.set() == set);
        let cleared = set.cleared();
        assert!(!cleared.is_set() && cleared.ends_wait(before.times_set()));
        assert!(!cleared.ends_wait(cleared.begins_wait()));
        // It began while the flag was set.
        assert!(cleared.ends_wait(set.begins_wait()));
    }
}
