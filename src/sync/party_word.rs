//! The word of a party: which process it is in, and how far its request has come.
//!
//! Pure values. The upper half of the word is the number of the process, or 0 for a free record. The lower half has the
//! state and what a waker must know. A thread that blocks sleeps on the lower half.

use std::num::NonZeroU32;

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum PartyState {
    /// The record has an owner and no request yet.
    Claimed,
    Waiting,
    /// The party is to try for itself.
    Called,
    /// The party has what it asked for, and holds it if that can be held.
    Granted,
    /// As `Granted`, for the one party of several that is told apart.
    GrantedFirst,
    /// The request is over, and the party has nothing.
    Refused,
}

/// The word of a party. Every value is some party or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PartyWord(u64);

/// What a party asks for, and how it is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartyRequest {
    /// The kind of the request. Its values are the object's.
    pub(super) kind: u8,
    /// The doorbell of its process.
    pub(super) bell: u8,
    /// A thread sleeps on the word.
    pub(super) is_thread: bool,
}

const STATE_BITS: u64 = 0xff;
const KIND_SHIFT: u32 = 8;
const BELL_SHIFT: u32 = 16;
const IS_THREAD: u64 = 1 << 24;
/// Bits of the ticket. They tell a party from the next one of the same process that has the same record.
const TICKET_SHIFT: u32 = 25;
const TICKET_BITS: u64 = 0x7f;
const PARTY_NUMBER_SHIFT: u32 = 32;

impl PartyWord {
    pub(super) const FREE: Self = Self(0);

    /// A claimed record of the process `number`.
    pub(super) fn new(number: NonZeroU32, request: PartyRequest) -> Self {
        let thread = if request.is_thread { IS_THREAD } else { 0 };
        let kind = u64::from(request.kind) << KIND_SHIFT;
        let bell = u64::from(request.bell) << BELL_SHIFT;
        let bits = u64::from(number.get()) << PARTY_NUMBER_SHIFT | thread | kind | bell;
        Self(bits).with(PartyState::Claimed)
    }

    #[inline]
    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline]
    pub(super) fn to_bits(self) -> u64 {
        self.0
    }

    /// What a sleeping thread sleeps on.
    #[inline]
    pub(super) fn lower_half(self) -> u32 {
        self.0 as u32
    }

    /// The number of the process; `None` for a free record.
    #[inline]
    pub(super) fn number(self) -> Option<NonZeroU32> {
        NonZeroU32::new((self.0 >> PARTY_NUMBER_SHIFT) as u32)
    }

    /// `None` if no process of this crate has written the word.
    #[inline]
    pub(super) fn state(self) -> Option<PartyState> {
        Some(match self.0 & STATE_BITS {
            1 => PartyState::Claimed,
            2 => PartyState::Waiting,
            3 => PartyState::Called,
            4 => PartyState::Granted,
            5 => PartyState::GrantedFirst,
            6 => PartyState::Refused,
            _ => return None,
        })
    }

    #[inline]
    pub(super) fn with(self, state: PartyState) -> Self {
        let bits = match state {
            PartyState::Claimed => 1,
            PartyState::Waiting => 2,
            PartyState::Called => 3,
            PartyState::Granted => 4,
            PartyState::GrantedFirst => 5,
            PartyState::Refused => 6,
        };
        Self(self.0 & !STATE_BITS | bits)
    }

    /// The same party, which has the ticket `ticket`.
    pub(super) fn with_ticket(self, ticket: u64) -> Self {
        let bits = (ticket & TICKET_BITS) << TICKET_SHIFT;
        Self(self.0 & !(TICKET_BITS << TICKET_SHIFT) | bits)
    }

    /// The same party, of another process.
    pub(super) fn moved_to(self, number: NonZeroU32) -> Self {
        Self(u64::from(self.lower_half()) | u64::from(number.get()) << PARTY_NUMBER_SHIFT)
    }

    #[inline]
    pub(super) fn kind(self) -> u8 {
        (self.0 >> KIND_SHIFT) as u8
    }

    #[inline]
    pub(super) fn bell(self) -> u8 {
        (self.0 >> BELL_SHIFT) as u8
    }

    #[inline]
    pub(super) fn is_thread(self) -> bool {
        self.0 & IS_THREAD != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_keeps_what_was_put_in() {
        let number = NonZeroU32::new(u32::MAX >> 1).unwrap();
        let request = PartyRequest {
            kind: 3,
            bell: 1,
            is_thread: true,
        };
        let word = PartyWord::new(number, request);
        assert_eq!(word.state(), Some(PartyState::Claimed));
        let word = word.with(PartyState::GrantedFirst);
        assert_eq!(word.state(), Some(PartyState::GrantedFirst));
        assert_eq!(word.number(), Some(number));
        assert_eq!((word.kind(), word.bell(), word.is_thread()), (3, 1, true));
    }

    #[test]
    fn next_party_in_a_record_has_another_word() {
        let request = PartyRequest {
            kind: 3,
            bell: 1,
            is_thread: true,
        };
        let word = PartyWord::new(NonZeroU32::MIN, request);
        let (first, next) = (word.with_ticket(u64::MAX), word.with_ticket(0));
        assert_ne!(first, next);
        for word in [first, next] {
            assert_eq!(word.number(), Some(NonZeroU32::MIN));
            assert_eq!(word.state(), Some(PartyState::Claimed));
            assert_eq!((word.kind(), word.bell(), word.is_thread()), (3, 1, true));
        }
    }

    #[test]
    fn new_memory_has_no_party() {
        assert_eq!(PartyWord::FREE.number(), None);
        assert_eq!(PartyWord::from_bits(u64::MAX).state(), None);
    }
}
