//! A party of this process: a record in the table, and the task or thread that waits for its change.
//!
//! What must stay true: dropping an enrolment frees its record, and has requests served of which it was in the way.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use super::local_side::LocalSide;
use super::object_memory::Party;
use super::party_word::{PartyRequest, PartyState, PartyWord};
use super::watcher::AUDIT_INTERVAL;
use crate::sys::exit_cause;
use crate::sys::futex;

/// A party of this process. Dropping it ends its request, and gives up what it was granted.
#[derive(Debug)]
pub(super) struct Enrolment {
    side: Arc<LocalSide>,
    party: Party,
    /// It has slept, so that deaths are noticed for it.
    is_sleeper: bool,
    is_registered: bool,
    is_over: bool,
}

impl LocalSide {
    /// Makes a party of this process. `None` if the table is full.
    pub(super) fn enrol(
        self: &Arc<Self>,
        kind: u8,
        amount: u64,
        is_thread: bool,
    ) -> Option<Enrolment> {
        let request = PartyRequest {
            kind,
            bell: self.own_bell,
            is_thread,
        };
        let party = self.memory.enrol(self.number()?, request, amount)?;
        Some(Enrolment::new(Arc::clone(self), party))
    }
}

impl Enrolment {
    fn new(side: Arc<LocalSide>, party: Party) -> Self {
        Self {
            side,
            party,
            is_sleeper: false,
            is_registered: false,
            is_over: false,
        }
    }

    pub(super) fn side(&self) -> &Arc<LocalSide> {
        &self.side
    }

    pub(super) fn party(&self) -> Party {
        self.party
    }

    /// How far the request has come. `None` if the record was overwritten, or this is a forked copy of its process.
    pub(super) fn state(&self) -> Option<PartyState> {
        let word = self.word();
        let is_own = word.with(PartyState::Waiting) == self.party.word;
        if !is_own || word.number() != self.side.number() {
            return None;
        }
        word.state()
    }

    fn word(&self) -> PartyWord {
        let word = self.side.memory.party(self.party.index);
        PartyWord::from_bits(word.load(Ordering::Acquire))
    }

    /// Changes the state. False if the record is not in the state `from`.
    pub(super) fn change(&self, from: PartyState, to: PartyState) -> bool {
        let word = self.party.word;
        self.side
            .memory
            .change(self.party.index, word.with(from), word.with(to))
    }

    /// Ready when the party may wait no longer. Pending: the task is woken then.
    pub(super) fn poll_change(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.is_registered = true;
        self.side.register(self.party.index, cx.waker());
        self.find_dead_parties();
        match self.state() {
            Some(PartyState::Waiting) => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    /// Blocks this thread until the party may wait no longer, or for a while.
    pub(super) fn block(&mut self) {
        exit_cause::end_if_disconnected();
        self.side.memory.expect_record(self.party.index);
        self.find_dead_parties();
        let word = self.word();
        if self.state() == Some(PartyState::Waiting) {
            let place = self.side.memory.sleeping_place(self.party.index);
            futex::wait(place, word.lower_half(), Some(AUDIT_INTERVAL));
        }
    }

    /// Before the first sleep: from here on each death is noticed, and who was dead before is found.
    fn find_dead_parties(&mut self) {
        if !self.is_sleeper {
            self.is_sleeper = true;
            self.side.begin_sleep();
            self.side.serve(true);
        }
    }

    /// Frees the record of a party that has used what it got.
    pub(super) fn end(mut self) {
        self.free(false);
    }

    /// Frees the record; returns the state that it was in. What the party has not used is passed on before.
    fn free(&mut self, passes_on: bool) -> Option<PartyState> {
        if std::mem::replace(&mut self.is_over, true) {
            return None;
        }
        self.stop_sleeping();
        loop {
            let state = self.state()?;
            if passes_on {
                self.side.on_leaving(state);
            }
            let from = self.party.word.with(state);
            let memory = &self.side.memory;
            if memory.change(self.party.index, from, PartyWord::FREE) {
                return Some(state);
            }
        }
    }

    /// Has the record belong to what is registered as `number`; this enrolment is over then. `None` if it was
    /// overwritten.
    pub(super) fn move_to(&mut self, number: NonZeroU32) -> Option<Party> {
        let from = self.party.word.with(self.state()?);
        let word = from.moved_to(number);
        let is_moved = self.side.memory.change(self.party.index, from, word);
        self.is_over |= is_moved;
        self.stop_sleeping();
        is_moved.then_some(Party { word, ..self.party })
    }

    /// Forgets the waker, and that deaths matter: the party holds something now.
    pub(super) fn stop_sleeping(&mut self) {
        if std::mem::replace(&mut self.is_registered, false) {
            self.side.deregister(self.party.index);
        }
        if std::mem::replace(&mut self.is_sleeper, false) {
            self.side.end_sleep();
        }
    }
}

impl Drop for Enrolment {
    fn drop(&mut self) {
        if let Some(state) = self.free(true) {
            self.side.on_left(state);
        }
    }
}
