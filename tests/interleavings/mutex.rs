//! The mutex between processes: parties that wait, are called, stop waiting and are killed at any step.
//!
//! A death is noticed by every process that has a party which sleeps, as the kernel tells it. A task that waits is not
//! overtaken by a party that comes later. The generation of the word is modelled by what depends on it: whether the word
//! is the same as when the server read it.

use crate::{Model, Modelled, search};

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
    ("CallIfFree", "src/sync/mutex_locking.rs", "call_if_free"),
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
    UnlocksOutOfOrder,
    KeepsGeneration,
    ReadsTableFirst,
    SleepsBesideFreeLock,
    StopsOrderWithCall,
    StopsWaitingWithCall,
}

/// How a party waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Task,
    /// A thread that has not waited for long.
    Thread,
    LateThread,
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
    is_reserved: bool,
    is_in_order: bool,
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
    CallIfFree,
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
    ReadWord(After, u8),
    Read(After, u8, Word),
    Decide(After, u8, Word, Vec<Record>),
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
    kind: Kind,
    record: Record,
    ticket: u8,
    /// It has changed the word since its record is waiting.
    is_announced: bool,
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
    tickets: u8,
    kills: u8,
    /// The word is not the one that the server has read.
    is_word_changed: bool,
    was_shared: bool,
    was_overtaken: bool,
}

/// Parties of which those that are marked may cancel.
fn start(parties: &[(Kind, bool)], kills: u8) -> State {
    let process = |(kind, may_cancel): &(Kind, bool)| Process {
        step: Step::Try,
        kind: *kind,
        record: Record::Free,
        ticket: 0,
        is_announced: false,
        may_cancel: *may_cancel,
        is_attached: false,
        is_woken: false,
        has_notice: false,
    };
    State {
        processes: parties.iter().map(process).collect(),
        word: Word::default(),
        server: None,
        calls: 0,
        tickets: 0,
        kills,
        is_word_changed: false,
        was_shared: false,
        was_overtaken: false,
    }
}

/// The same, after the first party has waited, and was called by a party that has ended.
fn called(mut state: State) -> State {
    state.tickets = 1;
    state.word.is_calling = true;
    let first = &mut state.processes[0];
    state.word.is_reserved = first.kind == Kind::Task;
    first.step = Step::Sleep;
    first.record = Record::Called;
    first.ticket = 1;
    (first.is_announced, first.is_attached, first.is_woken) = (true, true, true);
    state
}

impl State {
    fn is_dead(&self, who: usize) -> bool {
        self.processes[who].step == Step::Dead
    }

    fn change_word(&mut self, change: impl FnOnce(&mut Word)) {
        let before = self.word;
        change(&mut self.word);
        self.is_word_changed |= self.word != before;
    }

    fn take(&mut self, who: usize, was_called: bool) {
        self.was_shared |= self
            .processes
            .iter()
            .any(|it| matches!(it.step, Step::Hold | Step::Unlock));
        self.was_overtaken |= (0..self.processes.len()).any(|other| self.overtakes(who, other));
        self.change_word(|word| {
            word.owner = Some(who);
            word.is_poisoned = false;
            if was_called {
                word.is_calling = false;
                word.is_reserved = false;
            }
        });
    }

    /// Whether `other` is a task that waits, and came before `who` if that waited too.
    fn overtakes(&self, who: usize, other: usize) -> bool {
        let (taker, other) = (&self.processes[who], &self.processes[other]);
        let is_later = taker.record == Record::Free || taker.ticket > other.ticket;
        let waits = matches!(other.record, Record::Waiting | Record::Called)
            && other.is_announced
            && !matches!(other.step, Step::Dead | Step::Leave(_));
        other.kind == Kind::Task && waits && is_later
    }

    fn can_take(&self, is_called: bool) -> bool {
        let word = self.word;
        let is_kept = word.is_reserved || word.is_in_order;
        word.owner.is_none() && !word.is_poisoned && (is_called || !is_kept)
    }

    fn is_poisoned(&self) -> bool {
        self.word.is_poisoned && self.word.owner.is_none()
    }

    /// The next step of `who`; `None` if it waits.
    fn step(&mut self, who: usize, broken: Broken) -> Option<Step> {
        Some(match self.processes[who].step.clone() {
            Step::Try if self.can_take(false) => {
                self.take(who, false);
                Step::Hold
            }
            Step::Try if self.is_poisoned() => Step::Done,
            Step::Try => Step::Enrol,
            Step::Enrol => {
                self.tickets += 1;
                self.processes[who].ticket = self.tickets;
                self.processes[who].record = Record::Waiting;
                Step::Announce
            }
            Step::Announce => self.announce(who, broken),
            Step::TryWaiting if self.can_take(false) => {
                self.take(who, false);
                Step::Leave(Record::Free)
            }
            Step::TryWaiting if self.is_poisoned() => Step::Leave(Record::Refused),
            Step::TryWaiting => Step::CallIfFree,
            Step::CallIfFree => {
                let calls = self.word.is_waited_for && !self.word.is_calling;
                let is_free = self.word.owner.is_none() && calls;
                match self.processes[who].is_attached {
                    true if is_free && broken != Broken::SleepsBesideFreeLock => {
                        Step::Count(After::Sleep)
                    }
                    true => Step::Sleep,
                    // Its first sleep has requests served in any case.
                    false => Step::Attach,
                }
            }
            Step::Attach => {
                self.processes[who].is_attached = true;
                Step::Count(After::Sleep)
            }
            Step::Sleep => return self.sleep(who, broken),
            Step::TryCalled if self.can_take(true) => {
                self.take(who, true);
                self.processes[who].record = Record::Free;
                Step::Hold
            }
            Step::TryCalled => Step::WaitAgain,
            Step::WaitAgain => {
                self.processes[who].record = Record::Waiting;
                Step::TakeBack
            }
            Step::TakeBack => {
                self.take_back(broken);
                Step::Announce
            }
            Step::Leave(_) => self.leave(who, broken),
            Step::Hold => Step::Unlock,
            Step::Unlock => {
                if self.word.owner != Some(who) {
                    return Some(Step::Done);
                }
                self.change_word(|word| {
                    word.owner = None;
                    word.is_in_order &= broken != Broken::UnlocksOutOfOrder;
                });
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

    fn announce(&mut self, who: usize, broken: Broken) -> Step {
        let is_task = self.processes[who].kind == Kind::Task;
        self.change_word(|word| {
            word.is_waited_for = true;
            word.is_in_order |= is_task;
        });
        self.is_word_changed |= self.word.owner.is_none() && broken != Broken::KeepsGeneration;
        self.processes[who].is_announced = true;
        match broken {
            Broken::SleepsWithoutTrying => Step::Sleep,
            _ => Step::TryWaiting,
        }
    }

    fn take_back(&mut self, broken: Broken) {
        let keeps = broken != Broken::StopsOrderWithCall;
        self.change_word(|word| {
            word.is_waited_for |= word.is_calling && broken != Broken::StopsWaitingWithCall;
            word.is_calling = false;
            word.is_in_order = (word.is_in_order || word.is_reserved) && keeps;
            word.is_reserved = false;
        });
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
        self.processes[who].is_announced = false;
        if was == Record::Called {
            self.take_back(broken);
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
                    Step::ReadWord(after, self.calls)
                }
            },
            Step::ReadWord(after, calls) => {
                self.is_word_changed = false;
                Step::Read(after, calls, self.word)
            }
            Step::Read(after, calls, word) => Step::Decide(after, calls, word, self.records()),
            Step::Decide(after, calls, mut word, records) => {
                if broken == Broken::ReadsTableFirst {
                    self.is_word_changed = false;
                    word = self.word;
                }
                self.decide(after, calls, word, &records, broken)
            }
            Step::Mark(after, calls, whom, state) => {
                let is_waiting = self.processes[whom].record == Record::Waiting;
                if is_waiting && !self.is_dead(whom) {
                    self.processes[whom].record = state;
                }
                match state {
                    Record::Refused => Step::Wake(after, calls, Some(whom)),
                    _ if is_waiting => Step::Release(after, calls, Some(whom)),
                    _ => Step::ReadWord(after, calls),
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
                    true => Step::ReadWord(after, calls),
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

    /// The places of the parties that wait, in the order of their tickets.
    fn waiting(&self, records: &[Record]) -> Vec<usize> {
        let is_waiting = |who: &usize| records[*who] == Record::Waiting;
        let mut waiting: Vec<_> = (0..records.len()).filter(is_waiting).collect();
        waiting.sort_unstable_by_key(|who| self.processes[*who].ticket);
        waiting
    }

    /// Replaces the word if it is the one that the server has read.
    fn exchange(&mut self, change: impl FnOnce(&mut Word)) -> bool {
        let is_same = !self.is_word_changed;
        if is_same {
            self.change_word(change);
        }
        is_same
    }

    fn decide(
        &mut self,
        after: After,
        calls: u8,
        word: Word,
        records: &[Record],
        broken: Broken,
    ) -> Step {
        let again = Step::ReadWord(after, calls);
        let leave = Step::Release(after, calls, None);
        let has_called = records.contains(&Record::Called);
        if let Some(owner) = word.owner {
            if !self.is_dead(owner) {
                let is_vain = word.is_calling && !has_called;
                if !is_vain || broken == Broken::LeavesVainCall {
                    return leave;
                }
                if !self.is_word_changed {
                    self.take_back(broken);
                }
                return again;
            }
            self.exchange(|word| {
                *word = Word {
                    is_waited_for: word.is_waited_for || word.is_calling,
                    is_in_order: word.is_in_order,
                    is_poisoned: true,
                    ..Word::default()
                };
            });
            return again;
        }
        let waiting = self.waiting(records);
        match waiting.first() {
            Some(whom) if word.is_poisoned => Step::Mark(after, calls, *whom, Record::Refused),
            _ if has_called => leave,
            Some(whom) => match self.call(&waiting, broken) {
                true => Step::Mark(after, calls, *whom, Record::Called),
                false => again,
            },
            None if word.is_waited_for || word.is_calling || word.is_in_order => {
                self.exchange(|word| {
                    *word = Word {
                        owner: word.owner,
                        is_poisoned: word.is_poisoned,
                        ..Word::default()
                    };
                });
                again
            }
            None => leave,
        }
    }

    /// Has the word say that the first of `waiting` is called.
    fn call(&mut self, waiting: &[usize], broken: Broken) -> bool {
        let kind = |who: &usize| self.processes[*who].kind;
        let is_kept = kind(&waiting[0]) != Kind::Thread;
        let others_wait = waiting.len() > 1;
        let others_wait_in_order = waiting[1..].iter().any(|who| kind(who) == Kind::Task);
        self.exchange(|word| {
            word.is_calling = true;
            word.is_reserved = is_kept || others_wait_in_order;
            word.is_waited_for = others_wait;
            word.is_in_order = others_wait_in_order;
            if broken == Broken::HandsOver {
                word.owner = Some(waiting[0]);
            }
        })
    }

    fn is_waiting(&self) -> bool {
        let waits = |process: &Process| !matches!(process.step, Step::Done | Step::Dead);
        self.processes.iter().any(waits)
    }
}

impl Model for State {
    type Rule = Broken;

    fn steps(&self, broken: Broken, found: &mut Vec<Self>) {
        for who in 0..self.processes.len() {
            let mut then = self.clone();
            if let Some(step) = then.step(who, broken) {
                then.processes[who].step = step;
                found.push(then);
            }
        }
    }

    fn accidents(&self, _broken: Broken, found: &mut Vec<Self>) {
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

    fn is_wrong(&self, is_stuck: bool, _broken: Broken) -> bool {
        self.was_shared || self.was_overtaken || (is_stuck && self.is_waiting())
    }
}

const TASK: (Kind, bool) = (Kind::Task, false);
const THREAD: (Kind, bool) = (Kind::Thread, false);
const CANCELS: (Kind, bool) = (Kind::Task, true);

#[test]
fn mutex_has_one_holder_and_no_party_sleeps_beside_a_free_lock() {
    for parties in [
        [TASK, TASK],
        [THREAD, THREAD],
        [TASK, THREAD],
        [CANCELS, CANCELS],
        [CANCELS, (Kind::Thread, true)],
        [TASK, (Kind::LateThread, false)],
    ] {
        assert_eq!(search([start(&parties, 2)], Broken::Nothing), None);
    }
}

#[test]
#[ignore = "has millions of states, which takes minutes without optimisation"]
fn mutex_of_three_has_one_holder_whatever_is_killed_or_cancelled() {
    for start in [
        start(&[TASK, TASK, TASK], 0),
        start(&[TASK, TASK, THREAD], 0),
        start(&[TASK, THREAD, THREAD], 0),
        start(&[THREAD, THREAD, THREAD], 0),
        start(&[CANCELS, CANCELS, TASK], 0),
        start(&[TASK, TASK, THREAD], 1),
        start(&[TASK, THREAD, THREAD], 1),
    ] {
        assert_eq!(search([start], Broken::Nothing), None);
    }
}

#[test]
fn mutex_needs_each_rule() {
    for (start, broken) in [
        (start(&[THREAD, THREAD, THREAD], 1), Broken::ServesOnce),
        (start(&[TASK, TASK], 1), Broken::IgnoresDeaths),
        (start(&[TASK, TASK], 0), Broken::UnlocksWithoutCall),
        (start(&[CANCELS, TASK, TASK], 0), Broken::LeavesWithoutCall),
        (start(&[THREAD, THREAD], 0), Broken::SleepsWithoutTrying),
        (start(&[TASK, TASK, TASK], 1), Broken::HandsOver),
        (start(&[THREAD, THREAD, THREAD], 0), Broken::LeavesVainCall),
        (start(&[TASK, TASK, TASK], 0), Broken::UnlocksOutOfOrder),
        (start(&[TASK, TASK, TASK], 0), Broken::KeepsGeneration),
        (start(&[TASK, TASK, TASK], 0), Broken::ReadsTableFirst),
        (
            called(start(&[THREAD, THREAD, TASK], 0)),
            Broken::SleepsBesideFreeLock,
        ),
        (
            called(start(&[CANCELS, TASK, THREAD], 0)),
            Broken::StopsOrderWithCall,
        ),
        (
            start(&[TASK, TASK, THREAD], 1),
            Broken::StopsWaitingWithCall,
        ),
    ] {
        assert!(search([start], broken).is_some(), "{broken:?}");
    }
}
