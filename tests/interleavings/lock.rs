//! The lock in shared memory: processes that are killed at any step, or taken to be dead while they live, and a word
//! that is overwritten.

use crate::{Model, Modelled, search};

pub(crate) const MODELS: &[Modelled] = &[
    ("Read, Acquire", "src/lock/shared_lock.rs", "attempt"),
    ("Ask", "src/lock/shared_lock.rs", "is_orphaned"),
    ("Ask", "src/sys/presence.rs", "is_registered"),
    ("Commit", "src/lock/shared_lock.rs", "is_held"),
    ("Unlock", "src/lock/shared_lock.rs", "drop"),
    ("acquired_by", "src/lock/word.rs", "acquired_by"),
    ("released", "src/lock/word.rs", "released"),
];

/// The rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    TakesOverWithoutAsking,
    TakesOverByStore,
    UnlocksByStore,
    CommitsWithoutLooking,
    RespectsItsOwnNumber,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Word {
    owner: Option<usize>,
    generation: u8,
}

impl Word {
    fn acquired_by(self, owner: usize) -> Self {
        Self {
            owner: Some(owner),
            generation: self.generation + 1,
        }
    }

    fn released(self) -> Self {
        Self {
            owner: None,
            ..self
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Read,
    Ask(Word),
    Acquire(Word),
    /// In the critical section, with the word that was stored.
    Commit(Word),
    Unlock(Word),
    Done,
    Dead,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Process {
    step: Step,
    /// How often it locks.
    rounds: u8,
    /// The kernel knows it. It forgets a process only after it has stopped, unless the process ends its registration.
    is_registered: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    processes: Vec<Process>,
    word: Word,
    kills: u8,
    /// How many living processes may lose their registration.
    losses: u8,
    overwrites: u8,
    was_overwritten: bool,
    /// A process has committed while another one was in the critical section.
    was_torn: bool,
}

/// The number of no process.
const STRANGER: usize = 9;

fn start(rounds: &[u8], kills: u8, losses: u8, overwrites: u8) -> State {
    let process = |rounds: &u8| Process {
        step: Step::Read,
        rounds: *rounds,
        is_registered: true,
    };
    State {
        processes: rounds.iter().map(process).collect(),
        word: Word {
            owner: None,
            generation: 0,
        },
        kills,
        losses,
        overwrites,
        was_overwritten: false,
        was_torn: false,
    }
}

impl State {
    fn is_registered(&self, owner: usize) -> bool {
        self.processes
            .get(owner)
            .is_some_and(|process| process.is_registered)
    }

    /// Whether `who` is in the critical section and still owns the lock.
    fn is_inside(&self, who: usize) -> bool {
        matches!(self.processes[who].step, Step::Commit(held) | Step::Unlock(held) if held == self.word)
    }

    /// The next step of `who`; `None` if it cannot do anything but try again.
    fn step(&mut self, who: usize, broken: Broken) -> Option<Step> {
        Some(match self.processes[who].step {
            Step::Read => match self.word.owner {
                None => Step::Acquire(self.word),
                Some(owner) if owner == who && broken != Broken::RespectsItsOwnNumber => {
                    Step::Acquire(self.word)
                }
                Some(owner) if owner == who => return None,
                Some(_) if broken == Broken::TakesOverWithoutAsking => Step::Acquire(self.word),
                Some(owner) if self.is_registered(owner) => return None,
                Some(_) => Step::Ask(self.word),
            },
            // The kernel's answer cannot change after it was "no".
            Step::Ask(seen) => match seen.owner.is_some_and(|owner| self.is_registered(owner)) {
                true => Step::Read,
                false => Step::Acquire(seen),
            },
            Step::Acquire(seen) => {
                let by_store = broken == Broken::TakesOverByStore && seen.owner.is_some();
                if self.word != seen && !by_store {
                    return Some(Step::Read);
                }
                self.word = seen.acquired_by(who);
                Step::Commit(self.word)
            }
            Step::Commit(held) => {
                if self.word != held && broken != Broken::CommitsWithoutLooking {
                    return Some(Step::Unlock(held));
                }
                self.was_torn |=
                    (0..self.processes.len()).any(|other| other != who && self.is_inside(other));
                Step::Unlock(held)
            }
            Step::Unlock(held) => {
                if self.word == held || broken == Broken::UnlocksByStore {
                    self.word = held.released();
                }
                self.processes[who].rounds -= 1;
                match self.processes[who].rounds {
                    0 => Step::Done,
                    _ => Step::Read,
                }
            }
            Step::Done | Step::Dead => return None,
        })
    }

    /// Whether two registered processes are in the critical section. Overwriting the word can let a second one in.
    fn is_shared(&self) -> bool {
        let is_inside = |process: &&Process| {
            process.is_registered && matches!(process.step, Step::Commit(_) | Step::Unlock(_))
        };
        !self.was_overwritten && self.processes.iter().filter(is_inside).count() > 1
    }

    /// Whether a process waits for a lock that no process will release. A word that was overwritten with the number of
    /// a living process waits for that process to try the lock itself, or to end.
    fn is_stuck(&self) -> bool {
        let is_waiting = |process: &Process| !matches!(process.step, Step::Done | Step::Dead);
        let names_idle = self.word.owner.is_some_and(|owner| {
            self.is_registered(owner) && self.processes[owner].step == Step::Done
        });
        !names_idle && self.processes.iter().any(is_waiting)
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
            if self.kills > 0 && process.step != Step::Dead {
                let mut then = self.clone();
                then.kills -= 1;
                then.processes[who].step = Step::Dead;
                then.processes[who].is_registered = false;
                found.push(then);
            }
            if self.losses > 0 && process.is_registered {
                let mut then = self.clone();
                then.losses -= 1;
                then.processes[who].is_registered = false;
                found.push(then);
            }
        }
        if self.overwrites > 0 {
            let owners = [None, Some(STRANGER)].into_iter();
            for owner in owners.chain((0..self.processes.len()).map(Some)) {
                let mut then = self.clone();
                then.overwrites -= 1;
                then.was_overwritten = true;
                then.word = Word {
                    owner,
                    generation: 7,
                };
                found.push(then);
            }
        }
    }

    fn is_wrong(&self, is_stuck: bool, _broken: Broken) -> bool {
        self.was_torn || self.is_shared() || (is_stuck && self.is_stuck())
    }
}

#[test]
fn lock_has_one_owner_whatever_is_killed() {
    for start in [start(&[2, 2, 1], 2, 0, 0), start(&[2, 2], 1, 1, 0)] {
        assert_eq!(search([start], Broken::Nothing), None);
    }
}

/// An owner that lost its lock commits nothing, and the others are not disturbed by it.
#[test]
fn owner_that_was_taken_to_be_dead_commits_nothing() {
    assert_eq!(search([start(&[2, 2, 1], 0, 2, 0)], Broken::Nothing), None);
}

/// The word is overwritten at any step, also while a process owns the lock.
#[test]
fn overwritten_lock_is_never_stuck() {
    for start in [start(&[2, 2], 1, 0, 2), start(&[2, 1, 1], 0, 1, 1)] {
        assert_eq!(search([start], Broken::Nothing), None);
    }
}

#[test]
fn lock_needs_each_rule() {
    for (start, broken) in [
        (start(&[1, 1], 0, 0, 0), Broken::TakesOverWithoutAsking),
        (start(&[1, 1, 1], 1, 0, 0), Broken::TakesOverByStore),
        (start(&[1, 1, 1], 0, 1, 0), Broken::UnlocksByStore),
        (start(&[1, 1], 0, 1, 0), Broken::CommitsWithoutLooking),
        (start(&[2, 1], 0, 0, 1), Broken::RespectsItsOwnNumber),
    ] {
        assert!(search([start], broken).is_some(), "{broken:?}");
    }
}
