//! Which parties of a condition variable are notified.
//!
//! A party that was notified is granted, or granted first if all were. Until it has the lock again, its record says so:
//! if it leaves or dies before, another party is notified in its place.

use super::local_side::LocalSide;
use super::object_memory::Party;
use super::party_word::PartyState;
use super::serving::Serving;

/// The state of a party that was notified alone.
pub(super) const NOTIFIED: PartyState = PartyState::Granted;

/// The state of a party that was notified with all others.
pub(super) const NOTIFIED_WITH_ALL: PartyState = PartyState::GrantedFirst;

/// Passes on what dead parties had been notified of.
pub(super) fn serve(serving: &mut Serving<'_>) {
    // Before the dead are freed: a process that is killed in between has the notification passed on once more, and a
    // party looks in vain.
    let is_owed = |party: &&Party| party.word.state() == Some(NOTIFIED);
    let owed = serving.dead.iter().filter(is_owed).count();
    give(serving, owed, NOTIFIED);
}

/// A party is about to leave. If it was notified and has not used that, another is. Its own record still says so then:
/// if its process is killed here, the notification is not lost, and may be given again.
pub(super) fn pass_on(side: &LocalSide, state: PartyState) {
    if state == NOTIFIED {
        notify(side, 1, NOTIFIED);
    }
}

/// Notifies up to `most` parties that are alive, the longest waiting first. Returns how many.
pub(super) fn notify(side: &LocalSide, most: usize, state: PartyState) -> usize {
    let mut serving = Serving::begin(side, true);
    let notified = give(&mut serving, most, state);
    serving.wake_changed();
    notified
}

/// Notifies up to `most` live parties; returns how many.
fn give(serving: &mut Serving<'_>, most: usize, state: PartyState) -> usize {
    let mut notified = 0;
    for place in 0..serving.live.len() {
        if notified == most {
            break;
        }
        let is_waiting = serving.live[place].word.state() == Some(PartyState::Waiting);
        // If it is not set, the party has left, or another process has notified it.
        notified += usize::from(is_waiting && serving.set(place, state));
    }
    notified
}
