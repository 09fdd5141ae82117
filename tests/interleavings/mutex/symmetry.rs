//! Of the states that differ in nothing that any step depends on, one.

use std::mem::discriminant;

use super::{After, PROCESSES, Process, Record, State, Step};
use crate::hash;

impl State {
    /// Without what no step looks at any more.
    pub(super) fn forgetting(mut self) -> Self {
        // A server that has read the table, or chosen from it, may come back to a party that has left or died since.
        let is_deciding = |it: &Process| matches!(it.step, Step::Decide(..) | Step::Mark(..));
        let keeps_parties = self.processes.iter().any(is_deciding);
        for process in &mut self.processes {
            process.forget(keeps_parties);
        }
        // A lock that a dead process has is as good as free.
        self.server = self.server.filter(|server| !self.is_dead(*server));
        let has_read = |it: &Process| matches!(it.step, Step::Read(..) | Step::Decide(..));
        self.is_word_changed &= self.processes.iter().any(has_read);
        self.renumbered()
    }

    fn renumbered(mut self) -> Self {
        let tickets = self.processes.map(|process| process.ticket);
        for process in &mut self.processes {
            let is_earlier = |ticket: &&u8| (1..=process.ticket).contains(*ticket);
            process.ticket = tickets.iter().filter(is_earlier).count() as u8;
        }
        let last = self.processes.iter().map(|process| process.ticket).max();
        self.tickets = last.unwrap_or(0);
        self
    }

    /// With the processes in an order that does not depend on which is which.
    pub(super) fn sorted(self) -> Self {
        let mut order: [usize; PROCESSES] = std::array::from_fn(|place| place);
        let keys: [_; PROCESSES] = std::array::from_fn(|place| self.key(place));
        order.sort_by_key(|place| keys[*place]);
        match order.is_sorted() {
            true => self,
            false => self.ordered(order),
        }
    }

    /// What can be said of a process without naming another.
    fn key(&self, place: usize) -> (u8, u64) {
        let it = &self.processes[place];
        let flags = [
            it.is_announced,
            it.may_cancel,
            it.is_attached,
            it.is_woken,
            it.has_notice,
            it.calls_changed,
            self.server == Some(place),
            self.word.owner == Some(place),
        ];
        (
            it.ticket,
            hash(&(discriminant(&it.step), it.kind, it.record, flags)),
        )
    }

    /// With the processes in this order.
    fn ordered(self, order: [usize; PROCESSES]) -> Self {
        let mut to = [0; PROCESSES];
        for (place, from) in order.into_iter().enumerate() {
            to[from] = place;
        }
        let mut then = self;
        then.processes = order.map(|from| self.processes[from]);
        for process in &mut then.processes {
            process.step = process.step.renamed(order, to);
        }
        then.server = self.server.map(|server| to[server]);
        then.word.owner = self.word.owner.map(|owner| to[owner]);
        then
    }
}

impl Process {
    /// Forgets what no step looks at any more. `keeps_party` if the party may be looked at although it is over.
    fn forget(&mut self, keeps_party: bool) {
        self.calls_changed &= self.is_serving();
        self.is_woken &= self.step == Step::Sleep || self.step.after() == Some(After::Sleep);
        if !self.step.is_past_waiting() {
            return;
        }
        let is_over = matches!(self.record, Record::Free) || self.step == Step::Dead;
        let kept = match keeps_party || !is_over {
            true => *self,
            false => Self::at(self.step),
        };
        *self = Self {
            kind: kept.kind,
            record: kept.record,
            ticket: kept.ticket,
            is_announced: kept.is_announced,
            calls_changed: self.calls_changed,
            ..Self::at(self.step)
        };
    }
}

impl Step {
    /// Whether a process that comes to this step does not sleep any more.
    fn is_past_waiting(self) -> bool {
        match self {
            Self::Leave(_) | Self::Hold | Self::Unlock | Self::Done | Self::Dead => true,
            serving => serving.after() == Some(After::Done),
        }
    }

    /// Where a process continues that serves.
    fn after(self) -> Option<After> {
        match self {
            Self::Count(after)
            | Self::Lock(after)
            | Self::ReadWord(after)
            | Self::Read(after, _)
            | Self::Decide(after, ..)
            | Self::Mark(after, ..)
            | Self::Release(after, _)
            | Self::Wake(after, _)
            | Self::CountAgain(after) => Some(after),
            _ => None,
        }
    }

    fn renamed(self, order: [usize; PROCESSES], to: [usize; PROCESSES]) -> Self {
        match self {
            Self::Read(after, mut word) => {
                word.owner = word.owner.map(|owner| to[owner]);
                Self::Read(after, word)
            }
            Self::Decide(after, mut word, records) => {
                word.owner = word.owner.map(|owner| to[owner]);
                Self::Decide(after, word, order.map(|from| records[from]))
            }
            Self::Mark(after, whom, state) => Self::Mark(after, to[whom], state),
            Self::Release(after, whom) => Self::Release(after, whom.map(|whom| to[whom])),
            Self::Wake(after, whom) => Self::Wake(after, to[whom]),
            other => other,
        }
    }
}
