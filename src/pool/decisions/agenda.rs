//! Which workers the next turn of the driver must look at, and when it must look at the others.
//!
//! Lives in the application; pure. A worker that was changed is **due**. A turn looks at the workers that are due and
//! at no other: a worker that did nothing costs no look. When there is nothing to do for a worker but to wait for a
//! moment, it is put off until then.
//!
//! Must stay true: a worker that is not due has its visit at the moment at which there is something to do for it, or
//! earlier. A visit that is too early costs one look; a visit that is too late would be a task without an end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::schedule::WorkerKey;
use crate::sys::clock::Moment;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::pool) struct Agenda {
    entries: Vec<AgendaEntry>,
    due: Vec<WorkerKey>,
    /// An entry counts if it is the visit of its worker.
    visits: BinaryHeap<Reverse<(Moment, WorkerKey)>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct AgendaEntry {
    is_due: bool,
    visit: Option<Moment>,
}

impl Agenda {
    /// A worker was changed, or added.
    #[inline]
    pub(in crate::pool) fn note(&mut self, worker: WorkerKey) {
        match self.entries.get(worker) {
            Some(entry) if entry.is_due => {}
            _ => self.add(worker),
        }
    }

    fn add(&mut self, worker: WorkerKey) {
        if self.entries.len() <= worker {
            self.entries.resize(worker + 1, AgendaEntry::default());
        }
        self.entries[worker].is_due = true;
        self.due.push(worker);
    }

    /// The worker at this place among the due workers.
    #[inline]
    pub(in crate::pool) fn due(&self, at: usize) -> Option<WorkerKey> {
        self.due.get(at).copied()
    }

    /// Makes the workers due whose visits have come.
    pub(in crate::pool) fn begin_turn(&mut self, now: Moment) {
        while let Some(&Reverse((at, worker))) = self.visits.peek() {
            if at > now {
                return;
            }
            self.visits.pop();
            if self.forget_visit(at, worker) {
                self.note(worker);
            }
        }
    }

    /// There is nothing to do before `until` for the worker at this place among the due workers. Another takes the
    /// place.
    pub(in crate::pool) fn put_off(&mut self, at: usize, until: Option<Moment>) {
        let worker = self.due.swap_remove(at);
        self.entries[worker].is_due = false;
        self.visit_by(worker, until);
    }

    /// The first visit. `exact` says when there is something to do for a worker: an early visit is put off.
    pub(in crate::pool) fn first_visit(
        &mut self,
        exact: impl Fn(WorkerKey) -> Option<Moment>,
    ) -> Option<Moment> {
        while let Some(&Reverse((at, worker))) = self.visits.peek() {
            let until = exact(worker);
            if until == Some(at) && self.entries[worker].visit == until {
                return until;
            }
            self.visits.pop();
            if self.forget_visit(at, worker) {
                self.visit_by(worker, until);
            }
        }
        None
    }

    /// Whether there is a visit of a worker at this moment or before, or the worker is due.
    pub(in crate::pool) fn is_early_enough(&self, worker: WorkerKey, at: Moment) -> bool {
        let entry = self.entries.get(worker);
        entry.is_some_and(|it| it.is_due || it.visit.is_some_and(|visit| visit <= at))
    }

    fn visit_by(&mut self, worker: WorkerKey, until: Option<Moment>) {
        let Some(until) = until else {
            return;
        };
        let entry = &mut self.entries[worker];
        if entry.visit.is_none_or(|visit| until < visit) {
            entry.visit = Some(until);
            self.visits.push(Reverse((until, worker)));
        }
    }

    /// True if that was the visit of the worker.
    fn forget_visit(&mut self, at: Moment, worker: WorkerKey) -> bool {
        let visit = &mut self.entries[worker].visit;
        let counts = *visit == Some(at);
        if counts {
            *visit = None;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u64) -> Moment {
        Moment::from_bits(n)
    }

    fn take_due(agenda: &mut Agenda, until: Option<Moment>) -> Vec<WorkerKey> {
        let mut due = Vec::new();
        while let Some(worker) = agenda.due(0) {
            due.push(worker);
            agenda.put_off(0, until);
        }
        due.sort_unstable();
        due
    }

    #[test]
    fn changed_worker_is_due_once_until_it_is_put_off() {
        let mut agenda = Agenda::default();
        for worker in [3, 0, 3] {
            agenda.note(worker);
        }
        assert_eq!(take_due(&mut agenda, None), [0, 3]);
        assert_eq!(take_due(&mut agenda, None), []);
        assert_eq!(agenda.first_visit(|_| None), None);
    }

    #[test]
    fn worker_is_due_again_at_its_visit() {
        let mut agenda = Agenda::default();
        agenda.note(1);
        agenda.put_off(0, Some(at(10)));
        agenda.begin_turn(at(9));
        assert_eq!(agenda.due(0), None);
        assert_eq!(agenda.first_visit(|_| Some(at(10))), Some(at(10)));
        agenda.begin_turn(at(10));
        assert_eq!(take_due(&mut agenda, None), [1]);
        assert_eq!(agenda.first_visit(|_| None), None);
    }

    #[test]
    fn early_visit_is_put_off_and_an_earlier_one_is_added() {
        let mut agenda = Agenda::default();
        for until in [10, 20, 5] {
            agenda.note(1);
            agenda.put_off(0, Some(at(until)));
        }
        assert!(agenda.is_early_enough(1, at(5)) && !agenda.is_early_enough(1, at(4)));
        assert_eq!(agenda.first_visit(|_| Some(at(20))), Some(at(20)));
        agenda.begin_turn(at(19));
        assert_eq!(agenda.due(0), None);
        agenda.begin_turn(at(20));
        assert_eq!(take_due(&mut agenda, None), [1]);
    }

    #[test]
    fn visits_do_not_pile_up() {
        let mut agenda = Agenda::default();
        for n in 0..10_000 {
            agenda.note(1);
            agenda.put_off(0, Some(at(n)));
            agenda.first_visit(|_| Some(at(n)));
        }
        assert!(agenda.visits.len() <= 2, "{}", agenda.visits.len());
    }
}
