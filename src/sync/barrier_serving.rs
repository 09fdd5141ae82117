//! When the parties of a barrier continue together.
//!
//! A release has one point at which it is decided: the word says that it runs, and up to which ticket. From then on
//! each process that serves completes it.

use std::sync::atomic::Ordering;

use super::local_side::LocalSide;
use super::object_memory::Party;
use super::party_word::PartyState;
use super::serving::Serving;

/// A party has died while it waited, or the barrier was aborted.
const IS_BROKEN: u64 = 1;
/// A release runs.
const IS_RELEASING: u64 = 2;

/// Releases or refuses the parties, or leaves them waiting.
pub(super) fn serve(serving: &mut Serving<'_>) {
    let memory = &serving.side.memory;
    if memory.state().load(Ordering::SeqCst) & IS_RELEASING != 0 {
        release(serving);
        serving.read_again();
    }
    let reset_at = memory.third().load(Ordering::SeqCst);
    let is_before = |party: &Party| is_waiting(party) && party.ticket < reset_at;
    let has_died = |party: &Party| is_waiting(party) && !is_before(party);
    if serving.dead.iter().any(has_died) {
        // Before the party is freed: a process that is killed in between leaves it to be found again.
        memory.state().fetch_or(IS_BROKEN, Ordering::SeqCst);
    }
    let all = is_broken(serving.side);
    serving.set_all(PartyState::Refused, |party| {
        is_waiting(party) && (all || is_before(party))
    });
    if all || choose(serving).is_none() {
        return;
    }
    if !serving.has_checked_liveness {
        // A party that has died meets no other, also if its death was not noticed yet.
        serving.check_liveness();
        return serve(serving);
    }
    release_if_complete(serving);
}

fn release_if_complete(serving: &mut Serving<'_>) {
    let memory = &serving.side.memory;
    let Some(chosen) = choose(serving) else {
        return;
    };
    // A party with an earlier ticket may have been entered while the table was read. It is there at a second look.
    serving.read_again();
    if choose(serving) != Some(chosen) {
        // It has this served again when it is ready, as does a party that has left.
        return;
    }
    memory.second().store(chosen, Ordering::SeqCst);
    memory.state().fetch_or(IS_RELEASING, Ordering::SeqCst);
    release(serving);
}

/// The ticket up to which the parties continue, if they are complete.
fn choose(serving: &Serving<'_>) -> Option<u64> {
    let parties = usize::try_from(serving.side.memory.parameter()).ok()?;
    let mut waiting = serving.in_state(PartyState::Waiting);
    let last = waiting.nth(parties.checked_sub(1)?)?.ticket;
    let is_entering = serving.in_state(PartyState::Claimed).next().is_some();
    (!is_entering).then_some(last)
}

/// Completes the release that runs.
fn release(serving: &mut Serving<'_>) {
    let memory = &serving.side.memory;
    let last = memory.second().load(Ordering::SeqCst);
    let is_released = |party: &Party| is_waiting(party) && party.ticket <= last;
    let leader = serving.live.iter().rposition(is_released);
    for place in 0..leader.unwrap_or(0) {
        if is_released(&serving.live[place]) {
            serving.set(place, PartyState::Granted);
        }
    }
    // Last: while the release is not complete, the leader is still to be found.
    if let Some(leader) = leader {
        serving.set(leader, PartyState::GrantedFirst);
    }
    memory.state().fetch_and(!IS_RELEASING, Ordering::SeqCst);
    // Parties that died meanwhile have been released too.
    serving.dead.iter_mut().for_each(|party| {
        if is_released(party) {
            let released = party.word.with(PartyState::Granted);
            if serving
                .side
                .memory
                .change(party.index, party.word, released)
            {
                party.word = released;
            }
        }
    });
}

fn is_waiting(party: &Party) -> bool {
    party.word.state() == Some(PartyState::Waiting)
}

pub(super) fn is_broken(side: &LocalSide) -> bool {
    side.memory.state().load(Ordering::SeqCst) & IS_BROKEN != 0
}

/// Breaks the barrier.
pub(super) fn abort(side: &LocalSide) {
    side.memory.state().fetch_or(IS_BROKEN, Ordering::SeqCst);
    side.serve(false);
}

/// Refuses all that wait, and mends the barrier for all that come.
pub(super) fn reset(side: &LocalSide) {
    let memory = &side.memory;
    // In this order: parties that wait are refused for one reason or the other.
    let now = memory.next_ticket();
    memory.third().fetch_max(now, Ordering::SeqCst);
    memory.state().fetch_and(!IS_BROKEN, Ordering::SeqCst);
    side.serve(false);
}
