//! What a party of the mutex does: locks, unlocks, sleeps, leaves.

use super::{After, Broken, Kind, Record, State, Step, Word};

impl State {
    pub(super) fn is_dead(&self, who: usize) -> bool {
        self.processes[who].step == Step::Dead
    }

    pub(super) fn change_word(&mut self, change: impl FnOnce(&mut Word)) {
        let before = self.word;
        change(&mut self.word);
        self.is_word_changed |= self.word != before;
    }

    pub(super) fn take(&mut self, who: usize, was_called: bool) {
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
    pub(super) fn overtakes(&self, who: usize, other: usize) -> bool {
        let (taker, other) = (&self.processes[who], &self.processes[other]);
        let is_later = taker.record == Record::Free || taker.ticket > other.ticket;
        let waits = matches!(other.record, Record::Waiting | Record::Called)
            && other.is_announced
            && !matches!(other.step, Step::Dead | Step::Leave(_));
        other.kind == Kind::Task && waits && is_later
    }

    pub(super) fn can_take(&self, is_called: bool) -> bool {
        let word = self.word;
        let is_kept = word.is_reserved || word.is_in_order;
        word.owner.is_none() && !word.is_poisoned && (is_called || !is_kept)
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.word.is_poisoned && self.word.owner.is_none()
    }

    /// The next step of `who`; `None` if it waits.
    pub(super) fn step(&mut self, who: usize, broken: Broken) -> Option<Step> {
        Some(match self.processes[who].step {
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
                        Step::Count(After::Register)
                    }
                    true => self.end_of_serving(who, After::Register),
                    // Its first sleep has requests served in any case.
                    false => Step::Attach,
                }
            }
            Step::Attach => {
                self.processes[who].is_attached = true;
                self.processes[who].is_woken = false;
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

    pub(super) fn announce(&mut self, who: usize, broken: Broken) -> Step {
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

    pub(super) fn take_back(&mut self, broken: Broken) {
        let keeps = broken != Broken::StopsOrderWithCall;
        self.change_word(|word| {
            word.is_waited_for |= word.is_calling && broken != Broken::StopsWaitingWithCall;
            word.is_calling = false;
            word.is_in_order = (word.is_in_order || word.is_reserved) && keeps;
            word.is_reserved = false;
        });
    }

    pub(super) fn sleep(&mut self, who: usize, broken: Broken) -> Option<Step> {
        let process = &mut self.processes[who];
        if std::mem::take(&mut process.has_notice) && broken != Broken::IgnoresDeaths {
            // The process that should have woken the task may have died.
            process.is_woken |= process.record != Record::Waiting;
            return Some(Step::Count(After::Sleep));
        }
        if !process.is_woken {
            return None;
        }
        Some(match process.record {
            Record::Called => Step::TryCalled,
            Record::Refused => Step::Leave(Record::Refused),
            _ => Step::Announce,
        })
    }

    /// Frees the record. The lock may be held, by a party that has it without its call.
    pub(super) fn leave(&mut self, who: usize, broken: Broken) -> Step {
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
}
