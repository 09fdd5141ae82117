//! The core's topic: which workers a turn of the driver looks at, and when it must run for the others.

use super::core::Core;
use crate::schedule::{RunQueue, WorkerKey};
use crate::sys::clock::Moment;

impl Core {
    /// Does `step` for every worker that this turn must look at, also for workers that become due meanwhile.
    pub(in crate::pool) fn for_each_due(&mut self, mut step: impl FnMut(&mut Self, WorkerKey)) {
        let mut at = 0;
        while let Some(worker) = self.workers.agenda.due(at) {
            step(self, worker);
            at += 1;
        }
    }

    /// Puts the workers off for which there is nothing to do but to wait: most that have replied.
    pub(in crate::pool) fn put_off_workers(&mut self) {
        // A worker that is not due is not asked any more.
        self.note_takers();
        let mut at = 0;
        while let Some(worker) = self.workers.agenda.due(at) {
            let until = self.next_visit(worker);
            if self.is_watched(worker) || until.is_some_and(|until| until <= self.now) {
                at += 1;
            } else {
                self.workers.agenda.put_off(at, until);
            }
        }
    }

    /// When a turn must look at a worker, even if nothing happens.
    pub(in crate::pool) fn next_turn_of_workers(&mut self) -> Option<Moment> {
        debug_assert!(self.is_agenda_complete(), "a worker was forgotten");
        let mut agenda = std::mem::take(&mut self.workers.agenda);
        let visit = agenda.first_visit(|worker| self.next_visit(worker));
        self.workers.agenda = agenda;
        let due = (0..).map_while(|at| self.workers.agenda.due(at));
        let due = due.filter_map(|worker| {
            let visit = self.next_visit(worker).into_iter();
            let moments = visit.chain(self.deadline(worker));
            moments.chain(self.exit_limit(worker)).min()
        });
        due.chain(visit).min()
    }

    /// Tells the schedule if workers take tasks that did not, or do not any more.
    pub(in crate::pool) fn note_takers(&mut self) {
        let mut changed = false;
        self.for_each_due(|core, worker| {
            if let Some(it) = core.workers.get_mut(worker) {
                let takes = it.takes_tasks();
                changed |= std::mem::replace(&mut it.was_taking, takes) != takes;
            }
        });
        if changed {
            self.schedule.workers_changed();
        }
    }

    /// Whether every turn must look at the worker: what happens to it is no event, or depends on other workers.
    fn is_watched(&self, worker: WorkerKey) -> bool {
        let Some(it) = self.workers.get(worker) else {
            return false;
        };
        let queue = self.schedule.run_queue(worker);
        !it.has_fds.is_empty()
            || !it.looked_after.is_zero()
            || it.life.kill_at().is_some()
            || it.life.suspect_at().is_some()
            || (it.is_alive() && it.departure.is_decided())
            || queue.is_some_and(|queue| queue.is_full() || self.is_limited(queue))
            || it.life.io().is_some_and(|io| io.requests.has_unsent())
    }

    /// Whether the time of the task at the front is limited.
    fn is_limited(&self, queue: &RunQueue) -> bool {
        let record = queue.front().and_then(|front| self.records.get(front.task));
        record.is_some_and(|record| record.options.first_limit().is_some())
    }

    /// When there is something to do for a worker that is not watched.
    fn next_visit(&self, worker: WorkerKey) -> Option<Moment> {
        let look = self.look_at(worker).into_iter();
        look.chain(self.expiry(worker)).min()
    }

    /// Whether every worker is due, or will be in time.
    fn is_agenda_complete(&self) -> bool {
        let agenda = &self.workers.agenda;
        self.workers.keys().all(|worker| {
            let now = match self.is_watched(worker) {
                true => Some(Moment::default()),
                false => self.next_visit(worker),
            };
            now.is_none_or(|at| agenda.is_early_enough(worker, at))
        })
    }
}
