//! The core's topic: the end of a pool.

use super::core::{Core, Effect, Phase};
use super::records::Place;
use super::worker_state::WorkerLife;
use crate::error::{ErrorKind, JoinError};

impl Core {
    /// Takes no new tasks. `Over` also cancels all tasks and kills all workers.
    pub(super) fn close(&mut self, phase: Phase) {
        if self.phase != Phase::Over {
            self.phase = phase;
        }
        self.effects.push(Effect::WakeDriver);
        if self.phase == Phase::Over {
            self.cancel_everything();
        }
    }

    fn cancel_everything(&mut self) {
        for key in self.records.keys() {
            let place = self.records.get(key).map(|it| it.place);
            // A task that was sent ends when its worker exits.
            if !matches!(place, Some(Place::Sent { .. })) {
                self.cancel(key);
            }
        }
        for worker in self.workers.keys() {
            self.transition(worker, WorkerLife::kill);
        }
    }

    /// Stops the workers of a closing pool that has no tasks.
    pub(super) fn stop_idle(&mut self) {
        if self.phase != Phase::Closing || !self.records.is_empty() {
            return;
        }
        for worker in self.workers.keys() {
            self.transition(worker, WorkerLife::stop);
        }
    }

    /// Whether the pool has no tasks, no workers, and will have none.
    pub(super) fn is_over(&self) -> bool {
        self.phase != Phase::Open && self.records.is_empty() && self.workers.is_empty()
    }

    /// Gives every task that has no outcome an error: there is no driver any more.
    pub(super) fn fail_everything(&mut self) {
        let kind = match self.phase {
            Phase::Over => ErrorKind::Cancelled,
            _ => ErrorKind::Closed,
        };
        self.schedule.take_waiting();
        for key in self.records.keys() {
            if let Some(record) = self.records.remove(key) {
                let why = "the runtime in which the pool lived was shut down";
                let error = JoinError::new(kind, record.job.name()).because(why);
                self.fail_all(&record.job, error);
                self.discard(record);
            }
        }
    }
}
