//! What a process does that serves: it reads the word and the table, and decides (`src/sync/mutex_serving.rs`).

use super::{After, Broken, Kind, PROCESSES, Process, Record, State, Step, Word};

impl State {
    pub(super) fn serve(&mut self, who: usize, step: Step, broken: Broken) -> Step {
        match step {
            Step::Count(after) => {
                for process in &mut self.processes {
                    process.calls_changed |= process.is_serving();
                }
                Step::Lock(after)
            }
            Step::Lock(after) => match self.server {
                Some(server) if !self.is_dead(server) => self.end_of_serving(who, after),
                _ => {
                    self.server = Some(who);
                    self.processes[who].calls_changed = false;
                    Step::ReadWord(after)
                }
            },
            Step::ReadWord(after) => {
                self.is_word_changed = false;
                Step::Read(after, self.word)
            }
            Step::Read(after, word) => Step::Decide(after, word, self.records()),
            Step::Decide(after, mut word, records) => {
                if broken == Broken::ReadsTableFirst {
                    self.is_word_changed = false;
                    word = self.word;
                }
                self.decide(after, word, &records, broken)
            }
            Step::Mark(after, whom, state) => {
                let is_waiting = self.processes[whom].record == Record::Waiting;
                if is_waiting && !self.is_dead(whom) {
                    self.processes[whom].record = state;
                }
                match state {
                    Record::Refused => Step::Wake(after, whom),
                    _ if is_waiting => Step::Release(after, Some(whom)),
                    _ => Step::ReadWord(after),
                }
            }
            Step::Release(after, whom) => {
                self.server = None;
                match whom {
                    Some(whom) => Step::Wake(after, whom),
                    None => Step::CountAgain(after),
                }
            }
            Step::Wake(after, whom) => {
                self.processes[whom].is_woken = true;
                match self.server == Some(who) {
                    true => Step::ReadWord(after),
                    false => Step::CountAgain(after),
                }
            }
            Step::CountAgain(after) => {
                match self.processes[who].calls_changed && broken != Broken::ServesOnce {
                    true => Step::Lock(after),
                    false => self.end_of_serving(who, after),
                }
            }
            other => other,
        }
    }

    /// A party looks at its record once more before it sleeps.
    pub(super) fn end_of_serving(&mut self, who: usize, after: After) -> Step {
        let process = &mut self.processes[who];
        let is_changed = process.record != Record::Waiting;
        match after {
            After::Register => process.is_woken = is_changed,
            After::Sleep => process.is_woken |= is_changed,
            After::Done => return Step::Done,
        }
        Step::Sleep
    }

    /// The records of the parties that are alive, as the kernel says.
    pub(super) fn records(&self) -> [Record; PROCESSES] {
        std::array::from_fn(|who| match self.is_dead(who) {
            true => Record::Free,
            false => self.processes[who].record,
        })
    }

    /// The places of the parties that wait, in the order of their tickets.
    pub(super) fn waiting(&self, records: &[Record]) -> Vec<usize> {
        let is_waiting = |who: &usize| records[*who] == Record::Waiting;
        let mut waiting: Vec<_> = (0..records.len()).filter(is_waiting).collect();
        waiting.sort_unstable_by_key(|who| self.processes[*who].ticket);
        waiting
    }

    /// Replaces the word if it is still what the server has read.
    pub(super) fn exchange(&mut self, change: impl FnOnce(&mut Word)) -> bool {
        let is_same = !self.is_word_changed;
        if is_same {
            self.change_word(change);
        }
        is_same
    }

    pub(super) fn decide(
        &mut self,
        after: After,
        word: Word,
        records: &[Record],
        broken: Broken,
    ) -> Step {
        let again = Step::ReadWord(after);
        let leave = Step::Release(after, None);
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
            Some(whom) if word.is_poisoned => Step::Mark(after, *whom, Record::Refused),
            _ if has_called => leave,
            Some(whom) => match self.call(&waiting, broken) {
                true => Step::Mark(after, *whom, Record::Called),
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
    pub(super) fn call(&mut self, waiting: &[usize], broken: Broken) -> bool {
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

    pub(super) fn is_waiting(&self) -> bool {
        let waits = |process: &Process| !matches!(process.step, Step::Done | Step::Dead);
        self.processes.iter().any(waits)
    }
}

impl Process {
    /// Whether it has looked at the count of calls, and will again.
    pub(super) fn is_serving(&self) -> bool {
        matches!(
            self.step,
            Step::ReadWord(_)
                | Step::Read(..)
                | Step::Decide(..)
                | Step::Mark(..)
                | Step::Release(..)
                | Step::Wake(..)
                | Step::CountAgain(_)
        )
    }
}
