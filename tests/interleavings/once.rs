//! What runs once: a party whose process is killed, or which is cancelled while it runs, is followed by another.

use crate::party::{Next, Object, Party, PartyState, Rule, State, Step, start};
use crate::{Modelled, search};

pub(crate) const MODELS: &[Modelled] = &[
    (
        "LoadCompleted to Choose",
        "src/sync/once_serving.rs",
        "serve",
    ),
    ("Complete", "src/sync/once_serving.rs", "complete"),
    ("Begin, attempt", "src/sync/once.rs", "attempt"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Client {
    Begin,
    Run,
    Complete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Once {
    is_completed: bool,
    /// How often it was completed.
    completions: u8,
    /// Two parties ran at the same time.
    was_shared: bool,
    /// A party was told that it had run, and it had not.
    was_early: bool,
}

// The phases of serving.
const LOAD_COMPLETED: u8 = 0;
const TELL: u8 = 1;
const CHOOSE: u8 = 2;

impl Object for Once {
    type Client = Client;
    fn client(
        state: &mut State<Self>,
        who: usize,
        at: Client,
        _rule: Rule,
    ) -> Option<Step<Client>> {
        Some(match at {
            Client::Begin if state.object.is_completed => Step::Done,
            Client::Begin => state.enrol(who, 0, 0),
            Client::Run => {
                let runs = |other: &usize| {
                    *other != who && state.processes[*other].step == Step::Client(Client::Complete)
                };
                state.object.was_shared |= (0..state.count).any(|other| runs(&other));
                Step::Client(Client::Complete)
            }
            Client::Complete => {
                state.object.is_completed = true;
                state.object.completions += 1;
                Step::Leave
            }
        })
    }

    fn attempt(state: &mut State<Self>, who: usize, _rule: Rule) -> Option<Step<Client>> {
        if state.object.is_completed {
            return Some(Step::Leave);
        }
        match state.table[who].state {
            PartyState::Granted => Some(Step::Client(Client::Run)),
            PartyState::Refused => {
                state.object.was_early = true;
                Some(Step::Leave)
            }
            _ => None,
        }
    }

    /// The function that runs can be cancelled too.
    fn can_cancel(at: Client) -> bool {
        at == Client::Complete
    }

    fn decide(state: &mut State<Self>, who: usize, rule: Rule) -> Next {
        let is_completed = state.object.is_completed;
        let round = &mut state.processes[who].round;
        if round.phase == LOAD_COMPLETED {
            round.enter(if is_completed { TELL } else { CHOOSE });
            return Next::Decide;
        }
        let runs = !round
            .live(|party| party.state == PartyState::Granted)
            .is_empty();
        if round.phase == CHOOSE && runs {
            return Next::Over;
        }
        let to = match round.phase {
            TELL => PartyState::Refused,
            _ => PartyState::Granted,
        };
        let Some(place) = round.next(Party::is_waiting) else {
            return Next::Over;
        };
        state.exchange(who, place, to, rule);
        Next::Decide
    }

    fn is_wrong(state: &State<Self>) -> bool {
        let once = &state.object;
        once.was_shared || once.was_early || once.completions > 1
    }
}

fn of(cancels: &[bool], kills: u8, is_coarse: bool) -> State<Once> {
    let begins = cancels.iter().map(|may| (Client::Begin, *may));
    start(Once::default(), begins, kills, is_coarse)
}

#[test]
fn once_is_run_by_one_party_and_by_the_next_if_that_ends() {
    let starts = [
        of(&[false, false], 2, false),
        of(&[true, true], 1, false),
        of(&[true, false, false], 0, true),
        of(&[false, false, false], 1, true),
    ];
    assert_eq!(search(starts, Rule::None), None);
}

#[test]
fn once_needs_each_rule() {
    for (start, rule) in [
        (of(&[false, false], 0, true), Rule::LeavesSilently),
        (of(&[false, false], 1, true), Rule::IgnoresDeaths),
        (of(&[true, false], 0, false), Rule::GrantsByStore),
    ] {
        assert!(search([start], rule).is_some(), "{rule:?}");
    }
}
