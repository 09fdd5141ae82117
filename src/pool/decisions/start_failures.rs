//! The core's topic: workers that cannot be started, or that do not stay alive.

use super::core::{Core, OnLoss};
use crate::error::JoinError;
use crate::pool::monitoring::pool_event::PoolEvent;
use crate::schedule::StartFailure;
use crate::sys::clock::Moment;

impl Core {
    /// A worker has shown that workers are able to start.
    pub(in crate::pool) fn close_breaker(&mut self) {
        self.check_missing = true;
        if self.breaker.succeeded() {
            self.tell(|| PoolEvent::BreakerClosed);
        }
    }

    /// A worker that had started and had nothing to do has died. If that happens very often, no more are started for a
    /// while.
    pub(in crate::pool) fn count_idle_death(&mut self, cause: &JoinError) {
        let was_tripped = self.breaker.is_tripped();
        self.breaker.died_idle(self.now);
        self.tell_tripped(was_tripped, cause);
    }

    fn tell_tripped(&mut self, was_tripped: bool, cause: &JoinError) {
        if self.breaker.is_tripped() && !was_tripped {
            let cause = cause.clone();
            self.tell(|| PoolEvent::BreakerOpened { cause });
        }
    }

    /// A start that `began` then has failed. If that happens repeatedly and no worker is left that runs tasks or may be
    /// able to, waiting tasks end with the cause.
    pub(in crate::pool) fn count_failed_start(
        &mut self,
        how: StartFailure,
        began: Moment,
        cause: &JoinError,
    ) {
        self.check_missing = true;
        let is_first = self.generations == 0;
        match self.settings.on_loss {
            OnLoss::End => return self.end_because(cause),
            OnLoss::ReplaceStarted if is_first => return self.end_because(cause),
            OnLoss::Replace | OnLoss::ReplaceStarted => {}
        }
        let was_tripped = self.breaker.is_tripped();
        let is_open = self.breaker.failed(how, began, self.now);
        self.tell_tripped(was_tripped, cause);
        if !is_open || self.workers.any_alive() {
            return;
        }
        self.fail_numbered(cause);
        for key in self.schedule.take_waiting() {
            if let Some(record) = self.records.remove(key) {
                // It may have run before, in a worker that has ended.
                let error = cause.clone().after_start(record.options.tried);
                self.fail_all(&record.job, error);
                self.discard(record);
            }
        }
    }
}
