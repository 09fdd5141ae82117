//! The core's topic: the end of a pool.

use std::time::Duration;

use super::core::{Core, Effect, Phase};
use super::records::Place;
use super::worker_state::WorkerLife;
use crate::error::{ErrorKind, JoinError};

/// How long a worker may take to drop its state before it is killed. Unloading the largest model takes a few seconds.
pub(in crate::pool) const LONGEST_LEAVING: Duration = Duration::from_secs(10);

/// Why there is no driver.
pub(in crate::pool) const LOST_RUNTIME: &str = "the runtime in which the pool lived was shut down";

impl Core {
    /// Takes no new tasks. `Over` also cancels all tasks and kills all workers.
    pub(in crate::pool) fn close(&mut self, phase: Phase) {
        if self.phase != Phase::Over {
            self.phase = phase;
        }
        self.effects.push(Effect::WakeDriver);
        self.restarts.clear();
        self.refuse_waiting();
        self.end_leases();
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
    pub(in crate::pool) fn stop_idle(&mut self) {
        if self.phase != Phase::Closing || !self.records.is_empty() {
            return;
        }
        for worker in self.workers.keys() {
            self.leave_after_last_task(worker, None);
            self.end_if_finished(worker);
        }
    }

    /// Whether the pool has no tasks, no workers, and will have none.
    pub(in crate::pool) fn is_over(&self) -> bool {
        self.phase != Phase::Open && self.records.is_empty() && self.workers.is_empty()
    }

    /// Whether a task has no outcome, or the pool is closing.
    pub(in crate::pool) fn has_work(&self) -> bool {
        !self.records.is_empty() || (self.phase != Phase::Open && !self.is_over())
    }

    /// Ends the pool: there is no driver any more. If the pool was not over, its runtime was shut down.
    pub(in crate::pool) fn lose_driver(&mut self) {
        self.lost_runtime = !self.is_over();
        self.fail_everything();
        self.close(Phase::Over);
    }

    /// The error of a task that the pool does not take.
    pub(in crate::pool) fn refusal(&self, task: &'static str) -> JoinError {
        if let Some(cause) = &self.ended_because {
            return cause.clone().about(task).after_start(false);
        }
        let error = JoinError::new(ErrorKind::Closed, task);
        match self.lost_runtime {
            true => error.because(LOST_RUNTIME),
            false => error,
        }
    }

    /// Ends the pool: it cannot continue. Tasks that were not begun fail with the cause, now and later.
    pub(in crate::pool) fn end_because(&mut self, cause: &JoinError) {
        if self.phase == Phase::Over || self.ended_because.is_some() {
            return;
        }
        self.ended_because = Some(cause.clone());
        for key in self.records.keys() {
            let place = self.records.get(key).map(|it| it.place);
            if matches!(place, Some(Place::Sent { .. })) {
                continue; // its worker is dead, or will be
            }
            self.schedule.cancel_waiting(key);
            if let Some(record) = self.records.remove(key) {
                let error = cause.clone().after_start(record.options.tried);
                self.fail_all(&record.job, error);
                self.discard(record);
            }
        }
        self.close(Phase::Over);
    }

    /// Gives every task that has no outcome an error.
    fn fail_everything(&mut self) {
        let kind = match self.phase {
            Phase::Over => ErrorKind::Cancelled,
            _ => ErrorKind::Closed,
        };
        self.schedule.take_waiting();
        for key in self.records.keys() {
            if let Some(record) = self.records.remove(key) {
                let may_have_run =
                    record.options.tried || matches!(record.place, Place::Sent { .. });
                let error = JoinError::new(kind, record.job.name())
                    .because(LOST_RUNTIME)
                    .after_start(may_have_run);
                self.fail_all(&record.job, error);
                self.discard(record);
            }
        }
    }
}
