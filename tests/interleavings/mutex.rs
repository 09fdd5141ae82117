//! The mutex between processes: parties that wait, are called, stop waiting and are killed at any step.
//!
//! A death is noticed by every process that has a party which sleeps, as the kernel tells it. A task that waits is not
//! overtaken by a party that comes later. The generation of the word is modelled by what depends on it: whether the
//! word is the same as when the server read it. The count of calls is modelled by what depends on it: whether it has
//! changed since a server looked at it. Of the tickets only the order matters.

mod party;
mod serve;
mod symmetry;

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
    ("Attach", "src/sync/enrolment.rs", "find_dead_parties"),
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

/// How many processes the model has.
const PROCESSES: usize = 3;

/// How a party waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Task,
    /// A thread that has not waited for long.
    Thread,
    LateThread,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

/// Where a process continues after it has served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum After {
    /// It registers its task, looks at its record, and sleeps.
    Register,
    /// Its task is registered.
    Sleep,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    ReadWord(After),
    Read(After, Word),
    Decide(After, Word, [Record; PROCESSES]),
    Mark(After, usize, Record),
    Release(After, Option<usize>),
    Wake(After, usize),
    CountAgain(After),
    Done,
    Dead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// Others have had requests to serve since it looked at the count of calls.
    calls_changed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    processes: [Process; PROCESSES],
    word: Word,
    server: Option<usize>,
    tickets: u8,
    kills: u8,
    /// The word is another than the server has read.
    is_word_changed: bool,
    was_shared: bool,
    was_overtaken: bool,
}

impl Process {
    /// A process that has nothing but its next step.
    fn at(step: Step) -> Self {
        Self {
            step,
            kind: Kind::Task,
            record: Record::Free,
            ticket: 0,
            is_announced: false,
            may_cancel: false,
            is_attached: false,
            is_woken: false,
            has_notice: false,
            calls_changed: false,
        }
    }
}

/// Parties, of which the marked ones may cancel.
fn start(parties: &[(Kind, bool)], kills: u8) -> State {
    let mut processes = [Process::at(Step::Done); PROCESSES];
    for (process, (kind, may_cancel)) in processes.iter_mut().zip(parties) {
        *process = Process {
            kind: *kind,
            may_cancel: *may_cancel,
            ..Process::at(Step::Try)
        };
    }
    State {
        processes,
        word: Word::default(),
        server: None,
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

impl Model for State {
    type Rule = Broken;

    fn representative(self) -> Self {
        self.forgetting().sorted()
    }

    fn steps(&self, broken: Broken, found: &mut Vec<Self>) {
        for who in 0..self.processes.len() {
            let mut then = *self;
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
                let mut then = *self;
                then.kills -= 1;
                then.processes[who].step = Step::Dead;
                for other in &mut then.processes {
                    other.has_notice |= other.is_attached;
                }
                found.push(then);
            }
            if process.may_cancel && process.step == Step::Sleep {
                let mut then = *self;
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
