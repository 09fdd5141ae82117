//! A semaphore between processes: requests for permits are granted by whichever process serves.

use crate::party::{Next, Object, Party, PartyState, Rule, State, Step, start};
use crate::{Modelled, search};

pub(crate) const MODELS: &[Modelled] = &[
    (
        "LoadClosed, Grant",
        "src/sync/semaphore_serving.rs",
        "serve",
    ),
    ("attempt", "src/sync/semaphore.rs", "attempt"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Client {
    /// Asks for so many permits.
    Begin(u8),
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Semaphore {
    permits: u8,
    is_closed: bool,
}

// The phases of serving.
const LOAD_CLOSED: u8 = 0;
const REFUSE: u8 = 1;
const GRANT: u8 = 2;

impl Object for Semaphore {
    type Client = Client;
    fn client(
        state: &mut State<Self>,
        who: usize,
        at: Client,
        _rule: Rule,
    ) -> Option<Step<Client>> {
        Some(match at {
            Client::Begin(permits) => state.enrol(who, 0, permits),
            Client::Close => {
                state.object.is_closed = true;
                state.serve(who, false, Step::Done)
            }
        })
    }

    fn attempt(state: &mut State<Self>, who: usize, _rule: Rule) -> Option<Step<Client>> {
        match state.table[who].state {
            PartyState::Waiting => None,
            // It holds its permits until then.
            _ => Some(Step::Leave),
        }
    }

    fn decide(state: &mut State<Self>, who: usize, rule: Rule) -> Next {
        let total = state.object.permits;
        let is_closed = state.object.is_closed;
        let round = &mut state.processes[who].round;
        if round.phase == LOAD_CLOSED {
            round.enter(if is_closed { REFUSE } else { GRANT });
            return Next::Decide;
        }
        let granted = round.live(|party| party.state == PartyState::Granted);
        let held: u8 = granted.iter().map(|place| round.seen[*place].amount).sum();
        let Some(place) = round.next(Party::is_waiting) else {
            return Next::Over;
        };
        let to = match round.phase {
            REFUSE => PartyState::Refused,
            _ if round.seen[place].amount > total - held => return Next::Over,
            _ => PartyState::Granted,
        };
        state.exchange(who, place, to, rule);
        Next::Decide
    }

    fn is_wrong(state: &State<Self>) -> bool {
        let holders = (0..state.count).filter(|who| state.is_alive_in(*who, PartyState::Granted));
        let held: u8 = holders.map(|who| state.table[who].amount).sum();
        held > state.object.permits
    }

    /// There are no permits and no process closes the semaphore.
    fn may_rest(state: &State<Self>, _who: usize) -> bool {
        state.object.permits == 0 && !state.object.is_closed
    }
}

fn of(permits: u8, asked: &[(u8, bool)], kills: u8, is_coarse: bool) -> State<Semaphore> {
    let begins = asked.iter();
    let begins = begins.map(|(permits, may_cancel)| (Client::Begin(*permits), *may_cancel));
    let semaphore = Semaphore {
        permits,
        is_closed: false,
    };
    start(semaphore, begins, kills, is_coarse)
}

fn closing(permits: u8, kills: u8) -> State<Semaphore> {
    let begins = [
        (Client::Begin(1), false),
        (Client::Begin(1), false),
        (Client::Close, false),
    ];
    let semaphore = Semaphore {
        permits,
        is_closed: false,
    };
    start(semaphore, begins, kills, true)
}

const STAYS: (u8, bool) = (1, false);
const MAY_CANCEL: (u8, bool) = (1, true);

#[test]
fn permit_has_one_holder_and_no_request_sleeps_beside_a_free_permit() {
    let starts = [
        of(1, &[STAYS, STAYS], 2, false),
        of(1, &[MAY_CANCEL, MAY_CANCEL], 2, false),
        of(2, &[STAYS, (2, true)], 1, false),
    ];
    assert_eq!(search(starts, Rule::None), None);
}

#[test]
fn permits_of_three_are_not_exceeded_whatever_is_killed_or_cancelled() {
    let starts = [
        of(1, &[MAY_CANCEL, STAYS, STAYS], 0, true),
        of(1, &[STAYS, STAYS, STAYS], 1, true),
        of(2, &[STAYS, (2, false), STAYS], 0, true),
    ];
    assert_eq!(search(starts, Rule::None), None);
}

#[test]
fn closed_semaphore_refuses_all_that_wait() {
    assert_eq!(search([closing(1, 0), closing(0, 1)], Rule::None), None);
}

/// Of what all objects have in common.
#[test]
fn semaphore_needs_each_rule() {
    for (start, rule) in [
        (of(1, &[STAYS, STAYS, STAYS], 0, true), Rule::ServesOnce),
        (of(1, &[STAYS, STAYS], 1, true), Rule::IgnoresDeaths),
        (of(1, &[STAYS, STAYS], 0, true), Rule::WakesOnlyItself),
        (of(1, &[STAYS, STAYS], 0, true), Rule::LeavesSilently),
        (
            of(1, &[STAYS, STAYS], 1, true),
            Rule::AttachesWithoutLivenessCheck,
        ),
        (of(1, &[STAYS, STAYS], 0, true), Rule::SleepsWithoutCheck),
        (
            of(1, &[STAYS, STAYS], 0, false),
            Rule::TrimsWithoutSecondLook,
        ),
        (of(1, &[STAYS, STAYS], 1, false), Rule::TrustsTableOfTheDead),
    ] {
        assert!(search([start], rule).is_some(), "{rule:?}");
    }
}
