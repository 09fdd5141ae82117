//! The end of a pool: no new tasks, then no workers.

use super::core::{Core, Effect, Phase};
use super::records::Place;
use crate::call::RequestWriter;
use crate::error::{ErrorKind, JoinError};

impl Core {
    /// No new tasks. With `Over`, no old ones either, and every worker is killed.
    pub(super) fn close(&mut self, phase: Phase) {
        if self.phase != Phase::Over {
            self.phase = phase;
        }
        self.effects.push(Effect::Nudge);
        if self.phase != Phase::Over {
            return;
        }
        for key in self.records.keys() {
            // What was sent ends with its worker.
            if !matches!(
                self.records.get(key).map(|it| it.place),
                Some(Place::Sent { .. })
            ) {
                self.cancel(key);
            }
        }
        for worker in 0..self.workers.len() {
            self.schedule.close(worker);
            if let Some(it) = &mut self.workers[worker] {
                it.kill();
            }
        }
    }

    /// Gives every task that has no outcome one.
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
                self.end(&record.job, 0, record.job.items(), error);
                self.discard(record);
            }
        }
    }

    /// Ends the workers of a pool that has nothing to do and takes nothing more.
    pub(super) fn dismiss(&mut self) {
        if self.phase != Phase::Closing || !self.records.is_empty() {
            return;
        }
        for worker in 0..self.workers.len() {
            let Some(it) = self.workers[worker].as_mut().filter(|it| !it.stopping) else {
                continue;
            };
            self.schedule.close(worker);
            let told = it.ready && it.requests.as_mut().is_some_and(RequestWriter::write_stop);
            match told {
                true => it.stopping = true,
                false => it.kill(),
            }
        }
    }
}
