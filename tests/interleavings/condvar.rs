//! A condition variable: a notification reaches one party that waits, and is passed on by a party that cannot use it.
//! The mutex beside it is one step here; it has a model of its own.

use crate::party::{Next, Object, Party, PartyState, Rule, State, Step, start};
use crate::{Modelled, search};

pub(crate) const MODELS: &[Modelled] = &[
    ("Notify", "src/sync/condvar_serving.rs", "notify"),
    ("Give", "src/sync/condvar_serving.rs", "give"),
    ("Owe", "src/sync/condvar_serving.rs", "serve"),
    ("PassOn", "src/sync/condvar_serving.rs", "pass_on"),
    ("LookBeforeLeaving", "src/sync/enrolment.rs", "drop"),
    ("attempt, Unlock", "src/sync/condvar.rs", "attempt"),
    ("Lock, LockAgain", "src/sync/mutex_locking.rs", "attempt"),
    ("Settle", "src/sync/condvar.rs", "settle"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Client {
    Lock,
    LockAgain,
    Settle,
    LookBeforeLeaving,
    Leave,
    Unlock,
    /// Changes the value under the lock, and notifies so many.
    LockToChange(u8),
    UnlockChanged(u8),
    Notify(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Condvar {
    owner: Option<usize>,
    is_poisoned: bool,
    is_changed: bool,
    /// No process is killed, so that no notification is given twice.
    is_exact: bool,
    given: u8,
    used: u8,
    /// Notifications that no party was there for.
    in_vain: u8,
}

const ALL: u8 = 9;

const NOTIFIED: PartyState = PartyState::Granted;
const NOTIFIED_WITH_ALL: PartyState = PartyState::GrantedFirst;

// The phases of serving, and of a process that notifies.
const OWE: u8 = 0;
const GIVE_OWED: u8 = 1;
const GIVE: u8 = 2;
const PASS_ON: u8 = 3;

/// What became of an attempt to lock.
enum Locked {
    Yes,
    Poisoned,
    Waits,
}

fn lock(state: &mut State<Condvar>, who: usize) -> Locked {
    let owner = state.object.owner;
    if owner.is_some_and(|owner| state.is_dead(owner)) {
        state.object.owner = None;
        state.object.is_poisoned = true;
    }
    let condvar = &mut state.object;
    match (condvar.owner, condvar.is_poisoned) {
        (None, true) => Locked::Poisoned,
        (Some(_), _) => Locked::Waits,
        (None, false) => {
            condvar.owner = Some(who);
            Locked::Yes
        }
    }
}

/// Begins to notify `most` parties; no lock is needed.
fn notify(
    state: &mut State<Condvar>,
    who: usize,
    most: u8,
    phase: u8,
    after: Step<Client>,
) -> Step<Client> {
    let process = &mut state.processes[who];
    process.after = after;
    process.round.has_checked_liveness = true;
    process.round.number = most;
    process.round.phase = phase;
    Step::Read(0)
}

impl Object for Condvar {
    type Client = Client;
    const IS_SERVED_AT_ONCE: bool = false;
    const IS_TRIMMED: bool = false;

    fn client(state: &mut State<Self>, who: usize, at: Client, rule: Rule) -> Option<Step<Client>> {
        Some(match at {
            Client::Lock => match lock(state, who) {
                Locked::Waits => return None,
                Locked::Poisoned => Step::Done,
                Locked::Yes if state.object.is_changed => Step::Client(Client::Unlock),
                Locked::Yes => {
                    if rule == Rule::UnlocksBeforeEnrolling {
                        state.object.owner = None;
                    }
                    state.enrol(who, 0, 0)
                }
            },
            Client::LockAgain => match lock(state, who) {
                Locked::Waits => return None,
                Locked::Poisoned => Step::Client(Client::LookBeforeLeaving),
                Locked::Yes => Step::Client(Client::Settle),
            },
            Client::Settle => {
                let was = std::mem::take(&mut state.table[who]).state;
                state.object.used += u8::from(was == NOTIFIED);
                Step::Client(Client::Unlock)
            }
            Client::LookBeforeLeaving => look_before_leaving(state, who, rule),
            Client::Leave => Step::Leave,
            Client::Unlock => {
                state.object.owner = None;
                Step::Done
            }
            Client::LockToChange(most) => match lock(state, who) {
                Locked::Waits => return None,
                Locked::Poisoned => Step::Done,
                Locked::Yes => Step::Client(Client::UnlockChanged(most)),
            },
            Client::UnlockChanged(most) => {
                state.object.is_changed = most == ALL;
                state.object.owner = None;
                Step::Client(Client::Notify(most))
            }
            Client::Notify(most) => notify(state, who, most, GIVE, Step::Done),
        })
    }

    fn attempt(state: &mut State<Self>, who: usize, _rule: Rule) -> Option<Step<Client>> {
        if state.object.owner == Some(who) {
            state.object.owner = None;
            return Some(Step::Attempt);
        }
        let is_waiting = state.table[who].is_waiting();
        (!is_waiting).then_some(Step::Client(Client::LockAgain))
    }

    fn left(state: &mut State<Self>, who: usize, was: PartyState, rule: Rule) -> Step<Client> {
        match was == NOTIFIED && rule == Rule::PassesOnAfterLeaving {
            true => notify(state, who, 1, PASS_ON, Step::Done),
            false => Step::Done,
        }
    }

    fn cancelled(_state: &mut State<Self>, _who: usize) -> Step<Client> {
        Step::Client(Client::LookBeforeLeaving)
    }

    fn can_cancel(at: Client) -> bool {
        at == Client::LockAgain
    }

    fn permute(&mut self, to: [usize; 3]) {
        self.owner = self.owner.map(|owner| to[owner]);
    }

    fn decide(state: &mut State<Self>, who: usize, rule: Rule) -> Next {
        let round = &mut state.processes[who].round;
        if round.phase == OWE {
            let is_owed =
                |place: &usize| round.dead[*place] && round.seen[*place].state == NOTIFIED;
            round.number = (0..round.dead.len()).filter(is_owed).count() as u8;
            round.enter(GIVE_OWED);
            if rule == Rule::FreesTheDeadFirst {
                round.number = 0;
            }
        }
        give(state, who, rule)
    }

    fn is_wrong(state: &State<Self>) -> bool {
        let condvar = &state.object;
        condvar.is_exact && condvar.used > condvar.given
    }

    /// No notification was lost that it could have had.
    fn may_rest(state: &State<Self>, who: usize) -> bool {
        let condvar = &state.object;
        let is_asleep = state.processes[who].step == Step::Sleep;
        let is_lost = condvar.given > condvar.used + condvar.in_vain;
        let has_told_all = condvar.is_changed && state.processes[2].step == Step::Done;
        is_asleep && !is_lost && !has_told_all
    }
}

/// A party that was notified passes that on before its record is free.
fn look_before_leaving(state: &mut State<Condvar>, who: usize, rule: Rule) -> Step<Client> {
    match state.table[who].state {
        NOTIFIED if rule == Rule::KeepsNotification || rule == Rule::PassesOnAfterLeaving => {
            Step::Leave
        }
        NOTIFIED => notify(state, who, 1, PASS_ON, Step::Client(Client::Leave)),
        _ => {
            state.table[who] = Party::default();
            Step::Done
        }
    }
}

/// Gives the next of the notifications that are left.
fn give(state: &mut State<Condvar>, who: usize, rule: Rule) -> Next {
    let round = &mut state.processes[who].round;
    let phase = round.phase;
    let end = match phase {
        GIVE_OWED => Next::Over,
        _ => Next::OverOutside,
    };
    if round.number == 0 {
        return end;
    }
    let to = match round.number > state.count as u8 {
        true => NOTIFIED_WITH_ALL,
        false => NOTIFIED,
    };
    let Some(place) = round.next(Party::is_waiting) else {
        let in_vain = if phase == GIVE { 0 } else { round.number };
        state.object.in_vain += in_vain;
        return end;
    };
    if state.exchange(who, place, to, rule) {
        let is_counted = phase == GIVE && to == NOTIFIED;
        state.object.given += u8::from(is_counted);
        state.processes[who].round.number -= 1;
    }
    Next::Decide
}

const WAITS: (Client, bool) = (Client::Lock, false);
const MAY_CANCEL: (Client, bool) = (Client::Lock, true);
const TELLS_ONE: (Client, bool) = (Client::LockToChange(1), false);
const TELLS_ALL: (Client, bool) = (Client::LockToChange(ALL), false);

fn of(begins: &[(Client, bool)], kills: u8, is_coarse: bool) -> State<Condvar> {
    let condvar = Condvar {
        is_exact: kills == 0,
        ..Condvar::default()
    };
    start(condvar, begins.iter().copied(), kills, is_coarse)
}

#[test]
fn condvar_notification_is_used_once_or_passed_on() {
    let starts = [
        of(&[WAITS, TELLS_ONE], 1, false),
        of(&[MAY_CANCEL, WAITS, TELLS_ONE], 0, false),
        of(&[WAITS, WAITS, TELLS_ONE], 1, true),
        of(&[MAY_CANCEL, WAITS, TELLS_ONE], 1, true),
        of(&[WAITS, TELLS_ONE, TELLS_ONE], 0, true),
    ];
    assert_eq!(search(starts, Rule::None), None);
}

#[test]
fn condvar_notifies_all_that_wait() {
    let starts = [
        of(&[WAITS, WAITS, TELLS_ALL], 0, false),
        of(&[WAITS, WAITS, TELLS_ALL], 1, true),
    ];
    assert_eq!(search(starts, Rule::None), None);
}

#[test]
fn condvar_needs_each_rule() {
    for (start, rule) in [
        (
            of(&[MAY_CANCEL, WAITS, TELLS_ONE], 1, true),
            Rule::PassesOnAfterLeaving,
        ),
        (
            of(&[MAY_CANCEL, WAITS, TELLS_ONE], 0, true),
            Rule::KeepsNotification,
        ),
        (
            of(&[WAITS, WAITS, TELLS_ONE], 1, true),
            Rule::FreesTheDeadFirst,
        ),
        (of(&[WAITS, WAITS, TELLS_ONE], 1, true), Rule::IgnoresDeaths),
        (
            of(&[WAITS, WAITS, TELLS_ALL], 0, false),
            Rule::UnlocksBeforeEnrolling,
        ),
        (
            of(&[WAITS, WAITS, TELLS_ALL], 0, true),
            Rule::SleepsWithoutCheck,
        ),
    ] {
        assert!(search([start], rule).is_some(), "{rule:?}");
    }
}
