//! A barrier: a release is decided once, and completed by whichever process serves next.

mod release;

use release::release;

use crate::party::{Next, Object, Party, PartyState, Round, Rule, State, Step, permuted, start};
use crate::{Modelled, search};

pub(crate) const MODELS: &[Modelled] = &[
    (
        "LoadState to Choose",
        "src/sync/barrier_serving.rs",
        "serve",
    ),
    (
        "ChooseAgain, StoreLast, Decide",
        "src/sync/barrier_serving.rs",
        "release_if_complete",
    ),
    ("choose", "src/sync/barrier_serving.rs", "choose"),
    (
        "LoadLast to GrantTheDead",
        "src/sync/barrier_serving.rs",
        "release",
    ),
    ("Reset, Mend", "src/sync/barrier_serving.rs", "reset"),
    ("Abort", "src/sync/barrier_serving.rs", "abort"),
    ("Begin, attempt", "src/sync/barrier.rs", "attempt"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Client {
    /// Arrives so many times.
    Begin(u8),
    TakeTicketToReset,
    Reset(u8),
    Mend,
    Abort,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Barrier {
    parties: u8,
    is_broken: bool,
    is_releasing: bool,
    /// The last ticket of the release that runs.
    last: u8,
    /// Parties with earlier tickets were to be refused.
    reset_at: u8,
    /// Whose release was decided and who has not passed yet.
    group: [bool; 3],
    has_leader: bool,
    /// A party has died that waited, and the barrier was not reset since.
    has_lost: bool,
    /// The last ticket when a process was killed.
    killed_at: [u8; 3],
    is_wrong: bool,
}

// The phases of serving.
const LOAD_STATE: u8 = 0;
const LOAD_LAST: u8 = 1;
const GRANT: u8 = 2;
const END_RELEASE: u8 = 3;
const GRANT_THE_DEAD: u8 = 4;
const LOAD_RESET: u8 = 5;
const NOTE_DEATH: u8 = 6;
const LOAD_BROKEN: u8 = 7;
const REFUSE: u8 = 8;
const CHOOSE: u8 = 9;
const CHOOSE_AGAIN: u8 = 10;
const DECIDE: u8 = 11;

impl Object for Barrier {
    type Client = Client;
    const NOTES_TICKETS: bool = true;

    fn client(
        state: &mut State<Self>,
        who: usize,
        at: Client,
        _rule: Rule,
    ) -> Option<Step<Client>> {
        let barrier = &mut state.object;
        Some(match at {
            Client::Begin(0) => Step::Done,
            Client::Begin(_) if barrier.is_broken => Step::Done,
            Client::Begin(times) => state.enrol(who, times, 0),
            Client::TakeTicketToReset => {
                state.last_ticket += 1;
                let now = state.last_ticket;
                Step::Client(Client::Reset(now))
            }
            Client::Reset(now) => {
                barrier.reset_at = barrier.reset_at.max(now);
                Step::Client(Client::Mend)
            }
            Client::Mend => {
                barrier.has_lost = false;
                barrier.is_broken = false;
                state.serve(who, false, Step::Done)
            }
            Client::Abort => {
                barrier.is_broken = true;
                state.serve(who, false, Step::Done)
            }
        })
    }

    fn attempt(state: &mut State<Self>, who: usize, _rule: Rule) -> Option<Step<Client>> {
        match state.table[who].state {
            PartyState::Waiting | PartyState::Claimed => None,
            _ => Some(Step::Leave),
        }
    }

    /// It has passed if it was granted, also if it was cancelled then.
    fn left(state: &mut State<Self>, who: usize, was: PartyState, _rule: Rule) -> Step<Client> {
        let has_passed = matches!(was, PartyState::Granted | PartyState::GrantedFirst);
        let barrier = &mut state.object;
        let is_in_group = std::mem::take(&mut barrier.group[who]);
        // It is refused only if its release was not decided.
        barrier.is_wrong |= is_in_group && was == PartyState::Refused;
        let times = state.processes[who].request.kind;
        let then = match has_passed {
            true => Step::Client(Client::Begin(times - 1)),
            false => Step::Done,
        };
        state.serve(who, false, then)
    }

    fn permute(&mut self, to: [usize; 3]) {
        self.group = permuted(self.group, to);
        self.killed_at = permuted(self.killed_at, to);
    }

    fn killed(state: &mut State<Self>, who: usize) {
        let is_lost = state.table[who].is_waiting() && !state.object.group[who];
        state.object.has_lost |= is_lost;
        state.object.killed_at[who] = state.last_ticket;
    }

    fn decide(state: &mut State<Self>, who: usize, rule: Rule) -> Next {
        match state.processes[who].round.phase {
            LOAD_STATE..=GRANT_THE_DEAD => release(state, who, rule),
            LOAD_RESET..=REFUSE => refuse(state, who, rule),
            _ => choose(state, who, rule),
        }
    }

    fn is_wrong(state: &State<Self>) -> bool {
        state.object.is_wrong
    }

    /// Too few wait, none of them has died, and the barrier is not broken.
    fn may_rest(state: &State<Self>, _who: usize) -> bool {
        let barrier = &state.object;
        let waiting = (0..state.count).filter(|who| state.table[*who].is_waiting());
        !barrier.is_broken && !barrier.has_lost && waiting.count() < barrier.parties.into()
    }
}

/// Refuses the parties that wait at a barrier that is broken or was reset.
fn refuse(state: &mut State<Barrier>, who: usize, rule: Rule) -> Next {
    let barrier = &mut state.object;
    let round = &mut state.processes[who].round;
    match round.phase {
        LOAD_RESET => {
            round.number = barrier.reset_at;
            round.enter(NOTE_DEATH);
            Next::Decide
        }
        NOTE_DEATH => {
            let reset_at = round.number;
            let has_died = |party: &Party| party.is_waiting() && party.ticket >= reset_at;
            round.enter(LOAD_BROKEN);
            if round.has_dead(has_died) && rule != Rule::FreesTheDeadFirst {
                barrier.is_broken = true;
                return Next::Decide;
            }
            refuse(state, who, rule)
        }
        LOAD_BROKEN => {
            round.flag = barrier.is_broken;
            round.enter(REFUSE);
            Next::Decide
        }
        _ => {
            let (all, reset_at) = (round.flag, round.number);
            let is_meant = |party: &Party| party.is_waiting() && (all || party.ticket < reset_at);
            match round.next(is_meant) {
                Some(place) => {
                    state.exchange(who, place, PartyState::Refused, rule);
                    Next::Decide
                }
                None => {
                    round.enter(CHOOSE);
                    let is_over = std::mem::take(&mut round.flag);
                    match is_over {
                        true => Next::Over,
                        false => choose(state, who, rule),
                    }
                }
            }
        }
    }
}

/// The ticket up to which the parties go on, if they are complete.
fn chosen(round: &Round, parties: u8) -> Option<u8> {
    let waiting = round.live(Party::is_waiting);
    let last = *waiting.get(usize::from(parties) - 1)?;
    let is_entering = !round
        .live(|party| party.state == PartyState::Claimed)
        .is_empty();
    (!is_entering).then(|| round.seen[last].ticket)
}

fn choose(state: &mut State<Barrier>, who: usize, rule: Rule) -> Next {
    let parties = state.object.parties;
    let round = &mut state.processes[who].round;
    let complete = chosen(round, parties);
    match (round.phase, complete) {
        (CHOOSE, None) => Next::Over,
        // A party that has died meets no other, also if its death was not noticed yet.
        (CHOOSE, Some(_)) if !round.has_checked_liveness && rule != Rule::MeetsTheDead => {
            round.enter(LOAD_STATE);
            Next::CheckLiveness
        }
        (CHOOSE, Some(last)) => {
            round.number = last;
            round.enter(CHOOSE_AGAIN);
            Next::ReadAgain
        }
        (CHOOSE_AGAIN, again) => {
            if again != Some(round.number) {
                return Next::Over;
            }
            state.object.last = round.number;
            round.enter(DECIDE);
            Next::Decide
        }
        _ => {
            let last = round.number;
            round.enter(GRANT);
            note_group(state, last);
            state.object.is_releasing = rule != Rule::ReleasesWithoutDecision;
            Next::Decide
        }
    }
}

/// Notes whose release is decided.
fn note_group(state: &mut State<Barrier>, last: u8) {
    let mut members = 0;
    for place in 0..state.count {
        let party = state.table[place];
        let is_member = party.is_waiting() && party.ticket <= last;
        state.object.group[place] = is_member;
        members += u8::from(is_member);
        let was_dead = state.is_dead(place) && state.object.killed_at[place] < last;
        state.object.is_wrong |= is_member && was_dead;
    }
    state.object.is_wrong |= members > state.object.parties;
}

fn of(parties: u8, begins: &[(Client, bool)], kills: u8, is_coarse: bool) -> State<Barrier> {
    let barrier = Barrier {
        parties,
        ..Barrier::default()
    };
    start(barrier, begins.iter().copied(), kills, is_coarse)
}

const ARRIVES: (Client, bool) = (Client::Begin(1), false);
const MAY_CANCEL: (Client, bool) = (Client::Begin(1), true);
const TWICE: (Client, bool) = (Client::Begin(2), false);
const RESETS: (Client, bool) = (Client::TakeTicketToReset, false);
const ABORTS: (Client, bool) = (Client::Abort, false);

#[test]
fn barrier_releases_as_many_as_it_is_for_and_all_whose_release_was_decided() {
    let starts = [
        of(2, &[ARRIVES, ARRIVES], 1, false),
        of(2, &[TWICE, TWICE], 0, true),
        of(2, &[MAY_CANCEL, ARRIVES], 1, true),
        of(2, &[MAY_CANCEL, ARRIVES, ARRIVES], 0, true),
    ];
    assert_eq!(search(starts, Rule::None), None);
}

#[test]
fn barrier_of_three_is_released_or_broken_whatever_is_killed() {
    let starts = [
        of(2, &[ARRIVES, ARRIVES, ARRIVES], 1, true),
        of(3, &[ARRIVES, ARRIVES, ARRIVES], 0, true),
    ];
    assert_eq!(search(starts, Rule::None), None);
}

#[test]
fn barrier_that_is_reset_or_aborted_leaves_no_party_of_before() {
    let starts = [
        of(2, &[ARRIVES, ARRIVES, RESETS], 0, true),
        of(2, &[ARRIVES, ABORTS, RESETS], 0, true),
        of(2, &[ARRIVES, RESETS], 1, false),
    ];
    assert_eq!(search(starts, Rule::None), None);
}

#[test]
fn barrier_needs_each_rule() {
    for (start, rule) in [
        (of(2, &[ARRIVES, ARRIVES], 1, true), Rule::FreesTheDeadFirst),
        (of(2, &[ARRIVES, ARRIVES], 1, true), Rule::IgnoresDeaths),
        (
            of(2, &[ARRIVES, ARRIVES, ARRIVES], 1, true),
            Rule::ReleasesWithoutDecision,
        ),
        (
            of(2, &[ARRIVES, ARRIVES, ARRIVES], 1, true),
            Rule::LeaderFirst,
        ),
        (of(2, &[ARRIVES, ARRIVES], 1, true), Rule::MeetsTheDead),
    ] {
        eprintln!("{rule:?}");
        assert!(search([start], rule).is_some(), "{rule:?}");
    }
}
