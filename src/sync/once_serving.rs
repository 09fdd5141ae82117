//! Which party runs the function of a `Once`.

use std::sync::atomic::Ordering;

use super::local_side::LocalSide;
use super::party_word::PartyState;
use super::serving::Serving;

/// The party that runs it.
pub(super) const RUNS: PartyState = PartyState::Granted;

/// It has run.
pub(super) const HAS_RUN: PartyState = PartyState::Refused;

/// Tells all that it has run, or lets one run it if none does.
pub(super) fn serve(serving: &mut Serving<'_>) {
    if is_completed(serving.side) {
        return serving.set_all(HAS_RUN, |party| {
            party.word.state() == Some(PartyState::Waiting)
        });
    }
    if serving.in_state(RUNS).next().is_some() {
        return;
    }
    for place in 0..serving.live.len() {
        let is_waiting = serving.live[place].word.state() == Some(PartyState::Waiting);
        if is_waiting && serving.set(place, RUNS) {
            return;
        }
    }
}

pub(super) fn is_completed(side: &LocalSide) -> bool {
    side.memory.state().load(Ordering::SeqCst) != 0
}

pub(super) fn complete(side: &LocalSide) {
    side.memory.state().store(1, Ordering::SeqCst);
}
