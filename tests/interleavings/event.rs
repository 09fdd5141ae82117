//! A flag that is set and cleared: no wait sleeps that began before the flag was set.

use crate::party::{Next, Object, PartyState, Rule, State, Step, start};
use crate::{Modelled, search};

pub(crate) const MODELS: &[Modelled] = &[
    ("Set, Clear", "src/sync/event_serving.rs", "change"),
    ("LoadWord, Grant", "src/sync/event_serving.rs", "serve"),
    ("Begin, attempt", "src/sync/event.rs", "attempt"),
    ("Ask", "src/sync/event_serving.rs", "begins_wait"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Client {
    Begin,
    Ask,
    /// Sets the flag and, if so, clears it at once.
    Set {
        then_clear: bool,
    },
    Clear,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Event {
    is_set: bool,
    times_set: u8,
    /// A party was granted, and its wait is not over.
    was_granted_early: bool,
}

impl Event {
    fn ends_wait(&self, since: u8) -> bool {
        self.is_set || self.times_set != since
    }
}

// The phases of serving.
const LOAD_WORD: u8 = 0;
const GRANT: u8 = 1;

impl Object for Event {
    type Client = Client;
    const IS_SERVED_AT_ONCE: bool = false;

    fn client(state: &mut State<Self>, who: usize, at: Client, rule: Rule) -> Option<Step<Client>> {
        let event = &mut state.object;
        Some(match at {
            Client::Begin if event.is_set => Step::Done,
            Client::Begin => Step::Client(Client::Ask),
            Client::Ask => {
                let was_set = event.is_set && rule != Rule::KeepsNotification;
                let since = event.times_set - u8::from(was_set);
                state.enrol(who, 0, since)
            }
            Client::Set { then_clear } => {
                event.times_set += u8::from(!event.is_set);
                event.is_set = true;
                let then = match then_clear {
                    true => Step::Client(Client::Clear),
                    false => Step::Done,
                };
                match rule {
                    Rule::LeavesSilently => then,
                    _ => state.serve(who, false, then),
                }
            }
            Client::Clear => {
                event.is_set = false;
                Step::Done
            }
        })
    }

    fn attempt(state: &mut State<Self>, who: usize, _rule: Rule) -> Option<Step<Client>> {
        let record = state.table[who];
        if state.object.ends_wait(record.amount) {
            return Some(Step::Leave);
        }
        // The party would begin anew, and miss what it was granted for.
        state.object.was_granted_early |= record.state != PartyState::Waiting;
        None
    }

    fn left(_state: &mut State<Self>, _who: usize, _was: PartyState, _rule: Rule) -> Step<Client> {
        Step::Done
    }

    fn decide(state: &mut State<Self>, who: usize, rule: Rule) -> Next {
        let event = state.object;
        let round = &mut state.processes[who].round;
        if round.phase == LOAD_WORD {
            round.enter(GRANT);
            (round.flag, round.number) = (event.is_set, event.times_set);
            return Next::Decide;
        }
        let word = Event {
            is_set: round.flag,
            times_set: round.number,
            was_granted_early: false,
        };
        let is_over = |state, since| state == PartyState::Waiting && word.ends_wait(since);
        let Some(place) = round.next(|party| is_over(party.state, party.amount)) else {
            return Next::Over;
        };
        state.exchange(who, place, PartyState::Granted, rule);
        Next::Decide
    }

    fn is_wrong(state: &State<Self>) -> bool {
        state.object.was_granted_early
    }

    /// The flag was not set since the wait began.
    fn may_rest(state: &State<Self>, who: usize) -> bool {
        !state.object.ends_wait(state.table[who].amount)
    }
}

const WAITS: (Client, bool) = (Client::Begin, false);
const MAY_CANCEL: (Client, bool) = (Client::Begin, true);
const SETS: (Client, bool) = (Client::Set { then_clear: false }, false);
const PULSES: (Client, bool) = (Client::Set { then_clear: true }, false);

fn of(begins: &[(Client, bool)], kills: u8, is_coarse: bool) -> State<Event> {
    start(Event::default(), begins.iter().copied(), kills, is_coarse)
}

#[test]
fn event_that_was_set_ends_all_waits_also_if_it_is_cleared_at_once() {
    let starts = [
        of(&[WAITS, PULSES], 1, false),
        of(&[WAITS, MAY_CANCEL, PULSES], 0, true),
        of(&[WAITS, PULSES, PULSES], 0, true),
        of(&[WAITS, WAITS, SETS], 1, true),
        of(&[WAITS, PULSES, SETS], 1, true),
    ];
    assert_eq!(search(starts, Rule::None), None);
}

#[test]
fn event_needs_each_rule() {
    for (start, rule) in [
        (of(&[WAITS, SETS], 0, true), Rule::LeavesSilently),
        (of(&[WAITS, PULSES], 0, false), Rule::KeepsNotification),
        (of(&[WAITS, SETS], 1, true), Rule::IgnoresDeaths),
        (of(&[WAITS, SETS], 0, true), Rule::WakesOnlyItself),
        (
            of(&[WAITS, SETS], 1, true),
            Rule::AttachesWithoutLivenessCheck,
        ),
        (of(&[WAITS, SETS], 0, true), Rule::SleepsWithoutCheck),
    ] {
        assert!(search([start], rule).is_some(), "{rule:?}");
    }
}
