//! Which party of a mutex is called.
//!
//! The lock is not handed over: a party is called, and tries for itself. So the owner of the lock is always the process
//! that has stored its own number. No other party can lock before a task that was called, or a party that has waited
//! for long.
//!
//! What must stay true: the word says so if a party waits, and if a task does. A party makes its record, and then
//! changes the word. Here the word is read first, then the table, and the word is replaced only if it is still the
//! same.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::local_side::LocalSide;
use super::mutex_word::{MutexCall, MutexWord};
use super::object_memory::Party;
use super::party_word::PartyState;
use super::serving::Serving;
use crate::sys::clock::Moment;

/// After this time, a thread that waits is not overtaken any more. Until then others may lock as they come, which costs
/// less than a hand-over for each of them (as `sync.Mutex` of Go does it). A task is never overtaken, as in Tokio.
const OVERTAKEN_FOR: Duration = Duration::from_millis(1);

/// The kinds of requests.
pub(super) const TO_LOCK: u8 = 0;
pub(super) const TO_RECOVER: u8 = 1;

/// How often a round decides anew because the word has changed. A process that changes it without end is left alone.
const MOST_DECISIONS: usize = 1000;

/// Calls a party if the lock has no owner, and takes it from a dead one.
pub(super) fn serve(serving: &mut Serving<'_>) {
    for _ in 0..MOST_DECISIONS {
        let word = MutexWord::from_bits(serving.state);
        match decide(word, serving) {
            Decision::Leave => return,
            Decision::Refuse => refuse(serving),
            Decision::Become(next) => {
                exchange(serving.side, word, next);
            }
            Decision::Call(place, next) => {
                if exchange(serving.side, word, next) && serving.set(place, PartyState::Called) {
                    return;
                }
            }
        }
        // The word has changed, or a party's.
        serving.read_again();
    }
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Leave,
    Become(MutexWord),
    /// Refuse the parties that want a healthy value.
    Refuse,
    /// Call a party, by its place.
    Call(usize, MutexWord),
}

fn decide(word: MutexWord, serving: &Serving<'_>) -> Decision {
    let side = serving.side;
    let has_called = serving.in_state(PartyState::Called).next().is_some();
    if let Some(owner) = word.owner() {
        let is_dead =
            serving.has_checked_liveness && side.number() != Some(owner) && !side.is_alive(owner);
        return match is_dead {
            true => Decision::Become(word.orphaned()),
            // The party that was to be called has taken the lock before that. Its unlocking has to call.
            false if !has_called && word != word.not_calling() => {
                Decision::Become(word.not_calling())
            }
            false => Decision::Leave,
        };
    }
    let is_to_refuse = |party: &Party| is_waiting(party) && party.word.kind() != TO_RECOVER;
    if word.is_poisoned() && serving.live.iter().any(is_to_refuse) {
        return Decision::Refuse;
    }
    if has_called {
        return Decision::Leave;
    }
    match serving.live.iter().position(is_waiting) {
        Some(place) => Decision::Call(place, word.calling(call(&serving.live[place..]))),
        None if word == word.not_waited_for() => Decision::Leave,
        None => Decision::Become(word.not_waited_for()),
    }
}

/// How the first of `parties` is called.
fn call(parties: &[Party]) -> MutexCall {
    let mut waiting = parties.iter().filter(|party| is_waiting(party));
    let is_first_kept = waiting.next().is_some_and(|first| {
        let since = Moment::from_bits(first.amount);
        waits_in_order(first) || Moment::now().since(since) >= OVERTAKEN_FOR
    });
    let others_wait = waiting.clone().next().is_some();
    let others_wait_in_order = waiting.any(waits_in_order);
    MutexCall {
        reserves: is_first_kept || others_wait_in_order,
        others_wait,
        others_wait_in_order,
    }
}

/// Whether none that comes later may lock before the party.
fn waits_in_order(party: &Party) -> bool {
    !party.word.is_thread()
}

fn is_waiting(party: &Party) -> bool {
    party.word.state() == Some(PartyState::Waiting)
}

fn refuse(serving: &mut Serving<'_>) {
    for place in 0..serving.live.len() {
        let party = serving.live[place];
        if is_waiting(&party) && party.word.kind() != TO_RECOVER {
            serving.set(place, PartyState::Refused);
        }
    }
}

fn exchange(side: &LocalSide, from: MutexWord, to: MutexWord) -> bool {
    let (from, to) = (from.to_bits(), to.to_bits());
    let word = side.memory.state();
    word.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed)
        .is_ok()
}

/// A party has left. If it was called, another is.
pub(super) fn on_left(side: &LocalSide, state: PartyState) {
    if state == PartyState::Called {
        let word = side.memory.state();
        let taken_back = |bits| Some(MutexWord::from_bits(bits).not_calling().to_bits());
        // Never an error: there is always a next value.
        let _ = word.fetch_update(Ordering::SeqCst, Ordering::Relaxed, taken_back);
        side.serve(false);
    }
}
