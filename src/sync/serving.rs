//! One round of serving: the table as it was read, and what is changed in it.
//!
//! Runs in the process that serves; see `server`.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::local_side::LocalSide;
use super::object_memory::Party;
use super::party_word::{PartyState, PartyWord};

/// One round of serving.
#[derive(Debug)]
pub(super) struct Serving<'a> {
    pub(super) side: &'a LocalSide,
    /// The object's state before the table was read.
    pub(super) state: u64,
    /// The parties that may be alive, in the order of their tickets.
    pub(super) live: Vec<Party>,
    /// The parties whose processes have ended. They are freed when the round ends.
    pub(super) dead: Vec<Party>,
    /// The kernel was asked which parties are alive.
    pub(super) has_checked_liveness: bool,
    /// The parties whose tasks and threads must be woken.
    pub(super) changed: Vec<Party>,
}

impl<'a> Serving<'a> {
    /// Reads the table. If `checks_liveness`, the kernel is asked which parties are alive.
    pub(super) fn begin(side: &'a LocalSide, checks_liveness: bool) -> Self {
        let state = side.memory.state().load(Ordering::SeqCst);
        let mut all = Vec::new();
        side.memory.parties(&mut all);
        let (dead, live) = match checks_liveness {
            true => Self::told_apart(side, all),
            false => (Vec::new(), all),
        };
        Self {
            side,
            state,
            live,
            dead,
            has_checked_liveness: checks_liveness,
            changed: Vec::new(),
        }
    }

    /// The dead and the living of `all`, as the kernel says.
    fn told_apart(side: &LocalSide, all: Vec<Party>) -> (Vec<Party>, Vec<Party>) {
        let mut known = BTreeMap::new();
        let own = side.number();
        let is_dead = |party: &Party| {
            party.word.number().is_some_and(|number| {
                let mut ask = || own != Some(number) && !side.is_alive(number);
                *known.entry(number).or_insert_with(&mut ask)
            })
        };
        all.into_iter().partition(is_dead)
    }

    /// Changes the state of the `place`-th live party, and has it woken. False if the party itself has changed it.
    pub(super) fn set(&mut self, place: usize, state: PartyState) -> bool {
        let Some(party) = self.live.get_mut(place) else {
            return false;
        };
        let next = party.word.with(state);
        let is_set = self.side.memory.change(party.index, party.word, next);
        if is_set {
            party.word = next;
            self.changed.push(*party);
        }
        is_set
    }

    /// Reads the table anew.
    pub(super) fn read_again(&mut self) {
        let again = Self::begin(self.side, false);
        let dead = &self.dead;
        self.state = again.state;
        let is_live = |party: &Party| !dead.iter().any(|other| other.index == party.index);
        self.live = again.live.into_iter().filter(is_live).collect();
    }

    /// Reads the table anew, and asks the kernel which parties are alive.
    pub(super) fn check_liveness(&mut self) {
        let again = Self::begin(self.side, true);
        self.state = again.state;
        self.live = again.live;
        self.dead = again.dead;
        self.has_checked_liveness = true;
    }

    /// The live parties in the state `state`.
    pub(super) fn in_state(&self, state: PartyState) -> impl Iterator<Item = &Party> {
        let is_in = move |party: &&Party| party.word.state() == Some(state);
        self.live.iter().filter(is_in)
    }

    /// Changes the state of all live parties that `is_meant` accepts.
    pub(super) fn set_all(&mut self, state: PartyState, is_meant: impl Fn(&Party) -> bool) {
        for place in 0..self.live.len() {
            if self.live.get(place).is_some_and(&is_meant) {
                self.set(place, state);
            }
        }
    }

    /// Wakes the parties that were changed.
    pub(super) fn wake_changed(self) {
        self.side.wake(&self.changed);
    }

    pub(super) fn free_the_dead(&self) {
        for party in &self.dead {
            self.side
                .memory
                .change(party.index, party.word, PartyWord::FREE);
        }
    }
}
