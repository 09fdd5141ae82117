//! Which requests for permits are granted.
//!
//! The state is the number of all permits, and each permit that is held is a party that was granted. So a process that
//! ends holds nothing, and no step is needed to give back what it held.

use std::sync::atomic::Ordering;

use super::local_side::LocalSide;
use super::object_memory::Party;
use super::party_word::PartyState;
use super::serving::Serving;

/// The most permits of a semaphore, as in Tokio.
pub(super) const MOST_PERMITS: usize = usize::MAX >> 3;

/// Grants requests in the order of their tickets, up to the first for which there are too few permits.
pub(super) fn serve(serving: &mut Serving<'_>) {
    if is_closed(serving.side) {
        return serving.set_all(PartyState::Refused, |party| {
            is_in(party, PartyState::Waiting)
        });
    }
    let mut free = left(total(serving.side), &serving.live);
    for place in 0..serving.live.len() {
        let party = serving.live[place];
        if !is_in(&party, PartyState::Waiting) {
            continue;
        }
        if party.amount > free {
            return;
        }
        if serving.set(place, PartyState::Granted) {
            free -= party.amount;
        }
    }
}

pub(super) fn is_closed(side: &LocalSide) -> bool {
    side.memory.second().load(Ordering::SeqCst) != 0
}

/// How many permits no party holds.
pub(super) fn available(side: &LocalSide) -> usize {
    let mut all = Vec::new();
    side.memory.parties(&mut all);
    left(total(side), &all) as usize
}

fn left(total: u64, parties: &[Party]) -> u64 {
    let held = parties
        .iter()
        .filter(|party| is_in(party, PartyState::Granted));
    held.fold(total, |left, party| left.saturating_sub(party.amount))
}

/// The number of all permits. Any process may have overwritten it.
fn total(side: &LocalSide) -> u64 {
    let total = side.memory.state().load(Ordering::SeqCst);
    total.min(MOST_PERMITS as u64)
}

fn is_in(party: &Party, state: PartyState) -> bool {
    party.word.state() == Some(state)
}
