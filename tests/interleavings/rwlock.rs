//! A lock for reading and writing: readers together, a writer alone, and a writer that is killed.

use crate::party::{Next, Object, Party, PartyState, Rule, State, Step, start};
use crate::{Modelled, search};

pub(crate) const MODELS: &[Modelled] = &[
    (
        "NoteDeadWriter to Grant",
        "src/sync/rwlock_serving.rs",
        "serve",
    ),
    ("attempt", "src/sync/rwlock.rs", "attempt"),
    ("ClearPoison", "src/sync/rwlock_serving.rs", "clear_poison"),
    ("Load", "src/sync/rwlock_serving.rs", "load"),
    ("Store, Replace", "src/sync/rwlock_serving.rs", "store"),
];

const TO_READ: u8 = 0;
const TO_WRITE: u8 = 1;
const TO_REPAIR: u8 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Client {
    Begin(u8),
    ClearPoison,
    Load(u8),
    Store,
    Replace,
}

/// The words, and whether each place of the value is half written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Lock {
    writer_died: bool,
    place: usize,
    is_half_written: [bool; 2],
    /// A writer has died, and its lock was not recovered.
    is_damaged: bool,
    was_torn: bool,
    was_shared: bool,
}

// The phases of serving.
const NOTE_DEAD_WRITER: u8 = 0;
const LOAD_POISON: u8 = 1;
const REFUSE: u8 = 2;
const GRANT: u8 = 3;

fn is_in(party: &Party) -> bool {
    party.state == PartyState::Granted
}

fn writes(party: &Party) -> bool {
    is_in(party) && party.kind != TO_READ
}

impl Object for Lock {
    type Client = Client;
    fn client(
        state: &mut State<Self>,
        who: usize,
        at: Client,
        _rule: Rule,
    ) -> Option<Step<Client>> {
        let lock = &mut state.object;
        Some(match at {
            Client::Begin(kind) => state.enrol(who, kind, 0),
            Client::ClearPoison => {
                lock.writer_died = false;
                lock.is_damaged = false;
                Step::Client(Client::Load(TO_REPAIR))
            }
            Client::Load(kind) => {
                lock.was_torn |= lock.is_half_written[lock.place];
                match kind {
                    TO_READ => Step::Leave,
                    _ => Step::Client(Client::Store),
                }
            }
            Client::Store => {
                lock.is_half_written[1 - lock.place] = true;
                Step::Client(Client::Replace)
            }
            Client::Replace => {
                lock.is_half_written[1 - lock.place] = false;
                lock.place = 1 - lock.place;
                Step::Leave
            }
        })
    }

    fn attempt(state: &mut State<Self>, who: usize, _rule: Rule) -> Option<Step<Client>> {
        let kind = state.processes[who].request.kind;
        match state.table[who].state {
            PartyState::Granted => {
                let others = (0..state.count).filter(|other| *other != who);
                let mut inside = others.filter(|other| {
                    state.is_alive_in(*other, PartyState::Granted)
                        && (kind != TO_READ || state.table[*other].kind != TO_READ)
                });
                state.object.was_shared |= inside.next().is_some();
                state.object.was_torn |= state.object.is_damaged && kind != TO_REPAIR;
                Some(Step::Client(match kind {
                    TO_REPAIR => Client::ClearPoison,
                    _ => Client::Load(kind),
                }))
            }
            PartyState::Refused => Some(Step::Leave),
            _ => None,
        }
    }

    /// A party that is refused recovers.
    fn left(state: &mut State<Self>, who: usize, was: PartyState, rule: Rule) -> Step<Client> {
        let then = match was {
            PartyState::Refused => Step::Client(Client::Begin(TO_REPAIR)),
            _ => Step::Done,
        };
        match rule {
            Rule::LeavesSilently => then,
            _ => state.serve(who, false, then),
        }
    }

    fn killed(state: &mut State<Self>, who: usize) {
        state.object.is_damaged |= writes(&state.table[who]);
    }

    fn decide(state: &mut State<Self>, who: usize, rule: Rule) -> Next {
        let round = &mut state.processes[who].round;
        let phase = round.phase;
        if phase == NOTE_DEAD_WRITER {
            round.enter(LOAD_POISON);
            if round.has_dead(writes) && rule != Rule::FreesTheDeadFirst {
                state.object.writer_died = true;
                return Next::Decide;
            }
        }
        if state.processes[who].round.phase == LOAD_POISON {
            let is_poisoned = state.object.writer_died;
            let phase = if is_poisoned { REFUSE } else { GRANT };
            state.processes[who].round.enter(phase);
            return Next::Decide;
        }
        let round = &mut state.processes[who].round;
        if round.phase == REFUSE {
            let is_meant = |party: &Party| party.is_waiting() && party.kind != TO_REPAIR;
            if let Some(place) = round.next(is_meant) {
                state.exchange(who, place, PartyState::Refused, rule);
                return Next::Decide;
            }
            round.enter(GRANT);
        }
        grant(state, who, rule)
    }

    fn is_wrong(state: &State<Self>) -> bool {
        state.object.was_torn || state.object.was_shared
    }
}

/// Grants the next request that can be granted.
fn grant(state: &mut State<Lock>, who: usize, rule: Rule) -> Next {
    let round = &mut state.processes[who].round;
    let (writers, holders) = (round.live(writes).len(), round.live(is_in).len());
    let Some(place) = round.next(Party::is_waiting) else {
        return Next::Over;
    };
    if writers > 0 || (round.seen[place].kind != TO_READ && holders > 0) {
        return Next::Over;
    }
    state.exchange(who, place, PartyState::Granted, rule);
    Next::Decide
}

fn of(kinds: &[(u8, bool)], kills: u8, is_coarse: bool) -> State<Lock> {
    let begins = kinds.iter();
    let begins = begins.map(|(kind, may_cancel)| (Client::Begin(*kind), *may_cancel));
    start(Lock::default(), begins, kills, is_coarse)
}

#[test]
fn rwlock_has_one_writer_or_readers_and_no_request_sleeps_beside_a_free_lock() {
    let (read, write) = ((TO_READ, false), (TO_WRITE, false));
    let starts = [
        of(&[write, write], 2, false),
        of(&[read, write], 2, false),
        of(&[(TO_READ, true), (TO_WRITE, true)], 1, false),
        of(&[read, read, write], 0, true),
    ];
    assert_eq!(search(starts, Rule::None), None);
}

#[test]
fn rwlock_of_three_is_never_shared_or_stuck_whatever_is_killed() {
    let (read, write) = ((TO_READ, false), (TO_WRITE, false));
    let starts = [of(&[write, write, read], 1, true)];
    assert_eq!(search(starts, Rule::None), None);
}

#[test]
fn rwlock_needs_each_rule() {
    let (read, write) = ((TO_READ, false), (TO_WRITE, false));
    for (start, rule) in [
        (of(&[write, write], 1, true), Rule::FreesTheDeadFirst),
        (
            of(&[(TO_WRITE, true), read, write], 1, true),
            Rule::GrantsByStore,
        ),
    ] {
        assert!(search([start], rule).is_some(), "{rule:?}");
    }
}
