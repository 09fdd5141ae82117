//! The mutex between processes: parties that wait, are called, stop waiting and are killed at any step.
//!
//! A death is noticed by every process that has a party which sleeps, as the kernel tells it.

use crate::{Modelled, explore};

pub(crate) const MODELS: &[Modelled] = &[
    (
        "Try, TryWaiting, TryCalled",
        "src/sync/mutex_locking.rs",
        "attempt",
    ),
    (
        "WaitAgain, TakeBack",
        "src/sync/mutex_locking.rs",
        "attempt_enrolled",
    ),
    ("Announce", "src/sync/mutex_locking.rs", "announce"),
    ("Enrol", "src/sync/object_memory.rs", "enrol"),
    ("Attach", "src/sync/enrolment.rs", "look_for_the_dead"),
    ("Sleep", "src/sync/enrolment.rs", "poll_change"),
    ("Leave", "src/sync/enrolment.rs", "free"),
    ("Unlock", "src/sync/mutex_guard.rs", "drop"),
    ("Count, Lock, Release", "src/sync/server.rs", "serve"),
    ("Read", "src/sync/serving.rs", "begin"),
    ("Decide, Mark", "src/sync/mutex_serving.rs", "serve"),
    ("Wake", "src/sync/local_side.rs", "wake"),
];

/// The rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    ServesOnce,
    IgnoresDeaths,
    UnlocksWithoutCall,
    LeavesWithoutCall,
    SleepsWithoutTrying,
    HandsOver,
    LeavesVainCall,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Record {
    Free,
    Waiting,
    Called,
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Word {
    owner: Option<usize>,
    is_waited_for: bool,
    is_calling: bool,
    is_poisoned: bool,
}

/// Where a process goes on after it has served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum After {
    Sleep,
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Step {
    Try,
    Enrol,
    Announce,
    TryWaiting,
    Attach,
    Sleep,
    TryCalled,
    WaitAgain,
    TakeBack,
    Leave(Record),
    Hold,
    Unlock,
    Count(After),
    Lock(After),
    Read(After, u8),
    Decide(After, u8, Vec<Record>),
    Mark(After, u8, usize, Record),
    Release(After, u8, Option<usize>),
    Wake(After, u8, Option<usize>),
    CountAgain(After, u8),
    Done,
    Dead,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Process {
    step: Step,
    record: Record,
    may_cancel: bool,
    is_attached: bool,
    /// Its task was woken.
    is_woken: bool,
    /// A death was noticed.
    has_notice: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    processes: Vec<Process>,
    word: Word,
    server: Option<usize>,
    calls: u8,
    kills: u8,
    was_shared: bool,
}

fn start(cancels: &[bool], kills: u8) -> State {
    let process = |may_cancel: &bool| Process {
        step: Step::Try,
        record: Record::Free,
        may_cancel: *may_cancel,
        is_attached: false,
        is_woken: false,
        has_notice: false,
    };
    State {
        processes: cancels.iter().map(process).collect(),
        word: Word::default(),
        server: None,
        calls: 0,
        kills,
        was_shared: false,
    }
}

impl State {
    fn is_dead(&self, who: usize) -> bool {
        self.processes[who].step == Step::Dead
    }

    fn take(&mut self, who: usize) {
        self.was_shared |= self
            .processes
            .iter()
            .any(|it| matches!(it.step, Step::Hold | Step::Unlock));
        self.word.owner = Some(who);
        self.word.is_poisoned = false;
    }

    fn can_take(&self) -> bool {
        self.word.owner.is_none() && !self.word.is_poisoned
    }

    /// The next step of `who`; `None` if it waits.
    fn step(&mut self, who: usize, broken: Broken) -> Option<Step> {
        Some(match self.processes[who].step.clone() {
            Step::Try if self.can_take() => {
                self.take(who);
                Step::Hold
            }
            Step::Try if self.word.is_poisoned && self.word.owner.is_none() => Step::Done,
            Step::Try => Step::Enrol,
            Step::Enrol => {
                self.processes[who].record = Record::Waiting;
                Step::Announce
            }
            Step::Announce => {
                self.word.is_waited_for = true;
                match broken {
                    Broken::SleepsWithoutTrying => Step::Sleep,
                    _ => Step::TryWaiting,
                }
            }
            Step::TryWaiting if self.can_take() => {
                self.take(who);
                Step::Leave(Record::Free)
            }
            Step::TryWaiting if self.word.is_poisoned && self.word.owner.is_none() => {
                Step::Leave(Record::Refused)
            }
            Step::TryWaiting if self.processes[who].is_attached => Step::Sleep,
            Step::TryWaiting => Step::Attach,
            Step::Attach => {
                self.processes[who].is_attached = true;
                Step::Count(After::Sleep)
            }
            Step::Sleep => return self.sleep(who, broken),
            Step::TryCalled if self.can_take() => {
                self.take(who);
                self.word.is_calling = false;
                self.processes[who].record = Record::Free;
                Step::Hold
            }
            Step::TryCalled => Step::WaitAgain,
            Step::WaitAgain => {
                self.processes[who].record = Record::Waiting;
                Step::TakeBack
            }
            Step::TakeBack => {
                self.word.is_calling = false;
                Step::Announce
            }
            Step::Leave(_) => self.leave(who, broken),
            Step::Hold => Step::Unlock,
            Step::Unlock => {
                if self.word.owner != Some(who) {
                    return Some(Step::Done);
                }
                self.word.owner = None;
                let calls = self.word.is_waited_for && !self.word.is_calling;
                match calls && broken != Broken::UnlocksWithoutCall {
                    true => Step::Count(After::Done),
                    false => Step::Done,
                }
            }
            Step::Done | Step::Dead => return None,
            serving => self.serve(who, serving, broken),
        })
    }

    fn sleep(&mut self, who: usize, broken: Broken) -> Option<Step> {
        let process = &mut self.processes[who];
        if std::mem::take(&mut process.has_notice) && broken != Broken::IgnoresDeaths {
            // Who should have woken the task may be the one that has died.
            process.is_woken |= process.record != Record::Waiting;
            return Some(Step::Count(After::Sleep));
        }
        if !process.is_woken && process.record == Record::Waiting {
            return None;
        }
        // A task whose record was changed before it slept does not sleep.
        match process.record {
            Record::Called if process.is_woken => Some(Step::TryCalled),
            Record::Refused if process.is_woken => Some(Step::Leave(Record::Refused)),
            _ => None,
        }
    }

    /// Frees the record. The lock may be held, by a party that has it without its call.
    fn leave(&mut self, who: usize, broken: Broken) -> Step {
        let was = std::mem::replace(&mut self.processes[who].record, Record::Free);
        let holds = self.word.owner == Some(who);
        if was == Record::Called {
            self.word.is_calling = false;
            if !holds && broken != Broken::LeavesWithoutCall {
                return Step::Count(After::Done);
            }
        }
        match holds {
            true => Step::Hold,
            false => Step::Done,
        }
    }

    fn serve(&mut self, who: usize, step: Step, broken: Broken) -> Step {
        let end = |after| match after {
            After::Sleep => Step::Sleep,
            After::Done => Step::Done,
        };
        match step {
            Step::Count(after) => {
                self.calls += 1;
                Step::Lock(after)
            }
            Step::Lock(after) => match self.server {
                Some(server) if !self.is_dead(server) => {
                    // A party looks at its record before it sleeps.
                    self.look(who, after);
                    end(after)
                }
                _ => {
                    self.server = Some(who);
                    Step::Read(after, self.calls)
                }
            },
            Step::Read(after, calls) => Step::Decide(after, calls, self.records()),
            Step::Decide(after, calls, records) => self.decide(after, calls, &records, broken),
            Step::Mark(after, calls, whom, state) => {
                let is_waiting = self.processes[whom].record == Record::Waiting;
                if is_waiting && !self.is_dead(whom) {
                    self.processes[whom].record = state;
                }
                match state {
                    Record::Refused => Step::Wake(after, calls, Some(whom)),
                    _ if is_waiting => Step::Release(after, calls, Some(whom)),
                    _ => Step::Read(after, calls),
                }
            }
            Step::Release(after, calls, whom) => {
                self.server = None;
                match whom {
                    Some(_) => Step::Wake(after, calls, whom),
                    None => Step::CountAgain(after, calls),
                }
            }
            Step::Wake(after, calls, whom) => {
                let whom = whom.unwrap_or(who);
                self.processes[whom].is_woken = true;
                match self.server == Some(who) {
                    true => Step::Read(after, calls),
                    false => Step::CountAgain(after, calls),
                }
            }
            Step::CountAgain(after, calls) => {
                let again = self.calls != calls && broken != Broken::ServesOnce;
                if again {
                    return Step::Lock(after);
                }
                self.look(who, after);
                end(after)
            }
            other => other,
        }
    }

    /// A party looks at its record once more before it sleeps.
    fn look(&mut self, who: usize, after: After) {
        let process = &mut self.processes[who];
        process.is_woken |= after == After::Sleep && process.record != Record::Waiting;
    }

    /// The records of those that the kernel says are alive.
    fn records(&self) -> Vec<Record> {
        let read = |who: usize| match self.is_dead(who) {
            true => Record::Free,
            false => self.processes[who].record,
        };
        (0..self.processes.len()).map(read).collect()
    }

    fn decide(&mut self, after: After, calls: u8, records: &[Record], broken: Broken) -> Step {
        let first = |wanted| records.iter().position(|record| *record == wanted);
        if let Some(owner) = self.word.owner {
            if !self.is_dead(owner) {
                let is_vain = self.word.is_calling && first(Record::Called).is_none();
                if is_vain && broken != Broken::LeavesVainCall {
                    self.word.is_calling = false;
                }
                return Step::Release(after, calls, None);
            }
            self.word = Word {
                owner: None,
                is_waited_for: self.word.is_waited_for,
                is_calling: false,
                is_poisoned: true,
            };
            return Step::Read(after, calls);
        }
        let waiting = first(Record::Waiting);
        if let (true, Some(whom)) = (self.word.is_poisoned, waiting) {
            return Step::Mark(after, calls, whom, Record::Refused);
        }
        if first(Record::Called).is_some() {
            return Step::Release(after, calls, None);
        }
        match waiting {
            Some(whom) => {
                self.word.is_waited_for = true;
                self.word.is_calling = true;
                if broken == Broken::HandsOver {
                    self.word.owner = Some(whom);
                }
                Step::Mark(after, calls, whom, Record::Called)
            }
            None if self.word.is_waited_for || self.word.is_calling => {
                self.word.is_waited_for = false;
                self.word.is_calling = false;
                Step::Read(after, calls)
            }
            None => Step::Release(after, calls, None),
        }
    }

    fn accidents(&self, found: &mut Vec<Self>) {
        for who in 0..self.processes.len() {
            let process = &self.processes[who];
            if self.kills > 0 && !matches!(process.step, Step::Dead | Step::Done) {
                let mut then = self.clone();
                then.kills -= 1;
                then.processes[who].step = Step::Dead;
                for other in &mut then.processes {
                    other.has_notice |= other.is_attached;
                }
                found.push(then);
            }
            if process.may_cancel && process.step == Step::Sleep {
                let mut then = self.clone();
                then.processes[who].may_cancel = false;
                then.processes[who].step = Step::Leave(Record::Free);
                found.push(then);
            }
        }
    }

    fn is_waiting(&self) -> bool {
        let waits = |process: &Process| !matches!(process.step, Step::Done | Step::Dead);
        self.processes.iter().any(waits)
    }
}

/// A state that is wrong, if there is one.
fn search(start: State, broken: Broken) -> Option<State> {
    let steps = |state: &State, found: &mut Vec<State>| {
        for who in 0..state.processes.len() {
            let mut then = state.clone();
            if let Some(step) = then.step(who, broken) {
                then.processes[who].step = step;
                found.push(then);
            }
        }
    };
    let next = |state: &State, found: &mut Vec<State>| {
        steps(state, found);
        state.accidents(found);
    };
    let is_wrong = |state: &State, _| {
        let mut alive = Vec::new();
        steps(state, &mut alive);
        state.was_shared || (alive.is_empty() && state.is_waiting())
    };
    explore(start, next, is_wrong).err()
}

#[test]
fn mutex_has_one_holder_and_no_party_sleeps_beside_a_free_lock() {
    for start in [start(&[false, false], 2), start(&[true, true], 2)] {
        assert_eq!(search(start, Broken::Nothing), None);
    }
}

#[test]
#[ignore = "has millions of states, which takes minutes without optimisation"]
fn mutex_of_three_has_one_holder_whatever_is_killed_or_cancelled() {
    for start in [
        start(&[false, false, false], 0),
        start(&[true, true, false], 0),
        start(&[false, false, false], 1),
    ] {
        assert_eq!(search(start, Broken::Nothing), None);
    }
}

#[test]
fn mutex_needs_each_rule() {
    for (start, broken) in [
        (start(&[false, false, false], 1), Broken::ServesOnce),
        (start(&[false, false], 1), Broken::IgnoresDeaths),
        (start(&[false, false], 0), Broken::UnlocksWithoutCall),
        (start(&[true, false, false], 0), Broken::LeavesWithoutCall),
        (start(&[false, false], 0), Broken::SleepsWithoutTrying),
        (start(&[false, false, false], 1), Broken::HandsOver),
        (start(&[false, false, false], 0), Broken::LeavesVainCall),
    ] {
        assert!(search(start, broken).is_some(), "{broken:?}");
    }
}
