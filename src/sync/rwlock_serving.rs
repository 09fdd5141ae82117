//! Which readers and writers are let in.
//!
//! Who is in is a party that was granted. The state says where the value is, and whether a writer has died.

use std::sync::atomic::Ordering;

use super::local_side::LocalSide;
use super::object_memory::Party;
use super::party_word::PartyState;
use super::serving::Serving;

/// The kinds of requests.
pub(super) const TO_READ: u8 = 0;
pub(super) const TO_WRITE: u8 = 1;
pub(super) const TO_REPAIR: u8 = 2;

/// Which of the two places has the value.
const VALUE_PLACE: u64 = 1;
/// A writer has died, and no process has recovered the value.
const WRITER_DIED: u64 = 2;

/// Lets parties in, in the order of their tickets: readers together, and a writer alone.
pub(super) fn serve(serving: &mut Serving<'_>) {
    let state = serving.side.memory.state();
    let is_dead_writer = |party: &Party| is_in(party) && party.word.kind() != TO_READ;
    if serving.dead.iter().any(is_dead_writer) {
        // Before the party is freed: a process that is killed in between leaves it to be found again.
        state.fetch_or(WRITER_DIED, Ordering::SeqCst);
    }
    if is_poisoned(serving.side) {
        serving.set_all(PartyState::Refused, |party| {
            is_waiting(party) && party.word.kind() != TO_REPAIR
        });
    }
    let mut readers = serving.live.iter().filter(|party| is_in(party)).count();
    let mut has_writer = serving.live.iter().any(is_dead_writer);
    for place in 0..serving.live.len() {
        let party = serving.live[place];
        if !is_waiting(&party) {
            continue;
        }
        let reads = party.word.kind() == TO_READ;
        if has_writer || (!reads && readers > 0) {
            return;
        }
        if serving.set(place, PartyState::Granted) {
            readers += 1;
            has_writer = !reads;
        }
    }
}

fn is_in(party: &Party) -> bool {
    party.word.state() == Some(PartyState::Granted)
}

fn is_waiting(party: &Party) -> bool {
    party.word.state() == Some(PartyState::Waiting)
}

pub(super) fn is_poisoned(side: &LocalSide) -> bool {
    side.memory.state().load(Ordering::SeqCst) & WRITER_DIED != 0
}

/// A writer that is in has seen that the one before has died.
pub(super) fn clear_poison(side: &LocalSide) {
    side.memory
        .state()
        .fetch_and(!WRITER_DIED, Ordering::SeqCst);
}

/// Copies the value, for a party that is in.
pub(super) fn load(side: &LocalSide, out: &mut [u8]) {
    let place = side.memory.state().load(Ordering::Acquire) & VALUE_PLACE;
    side.memory.load_value(place != 0, out);
}

/// Stores the value beside the old one, and replaces that in one step. For a writer that is in.
pub(super) fn store(side: &LocalSide, value: &[u8]) {
    let state = side.memory.state();
    let place = state.load(Ordering::Acquire) & VALUE_PLACE;
    side.memory.store_value(place == 0, value);
    state.fetch_xor(VALUE_PLACE, Ordering::AcqRel);
}

/// How many parties are in, and whether one of them writes.
pub(super) fn inside(side: &LocalSide) -> (usize, bool) {
    let mut all = Vec::new();
    side.memory.parties(&mut all);
    all.retain(is_in);
    let writes = all.iter().any(|party| party.word.kind() != TO_READ);
    (all.len(), writes)
}
