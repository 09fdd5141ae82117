//! The core's topic: whether a call that has failed runs again.
//!
//! By default it does if its worker has crashed or exited. A rule of the user is asked where no lock is held; meanwhile
//! the task keeps its record, so that it can be cancelled. It keeps its key in all tries.

use super::core::{Core, Effect, Phase};
use super::records::Place;
use crate::error::{ErrorKind, JoinError};
use crate::schedule::TaskKey;

impl Core {
    /// The only item of a task has failed after its start: the task ends, or runs again.
    pub(in crate::pool) fn end_or_rerun(&mut self, key: TaskKey, error: JoinError) {
        let has_rule = self.settings.retry_if.is_some();
        let crashed = matches!(error.kind(), ErrorKind::Crashed | ErrorKind::Exited);
        if !self.has_retries(key) || !has_rule && !crashed {
            self.end(key, Some(error));
        } else if has_rule {
            self.await_decision(key);
            let item = self.records.get(key).and_then(|it| it.job.item());
            self.effects.push(Effect::Decide(key, error.of_item(item)));
        } else {
            self.rerun(key);
        }
    }

    /// Whether the rule must be asked when the task gives an error.
    pub(in crate::pool) fn asks_rule(&self, key: TaskKey) -> bool {
        self.settings.retry_if.is_some() && self.has_retries(key)
    }

    /// The rule is asked whether the task runs again.
    pub(in crate::pool) fn await_decision(&mut self, key: TaskKey) {
        if let Some(record) = self.records.get_mut(key) {
            record.place = Place::Deciding;
            record.note_try();
        }
    }

    /// The rule was asked. If the task does not run `again`, it ends with the error, unless it has an outcome.
    /// True if it had none.
    pub(in crate::pool) fn on_decided(
        &mut self,
        key: TaskKey,
        again: bool,
        error: Option<JoinError>,
    ) -> bool {
        let record = self.records.get(key);
        // It was cancelled meanwhile, and has an outcome.
        if record.is_none_or(|record| record.place != Place::Deciding) {
            return false;
        }
        match again {
            true => self.rerun(key),
            false => self.end(key, error),
        }
        true
    }

    fn has_retries(&self, key: TaskKey) -> bool {
        let record = self.records.get(key);
        let has_retries = record.is_some_and(|it| it.options.retries > 0 && !it.cancelled);
        has_retries && self.phase != Phase::Over && self.has_target(key)
    }

    fn rerun(&mut self, key: TaskKey) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        record.options.retries = record.options.retries.saturating_sub(1);
        record.note_try();
        self.counts.retried += 1;
        self.requeue_later(key);
    }

    fn end(&mut self, key: TaskKey, error: Option<JoinError>) {
        if let Some(record) = self.records.remove(key) {
            if let Some(error) = error {
                self.fail_all(&record.job, error);
            }
            self.discard(record);
        }
    }
}
