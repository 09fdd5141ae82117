//! The core's topic: one turn of the driver, and the order of its steps.

use super::core::{Core, Effect};
use crate::pool::driving::findings::{Findings, WorkerChange};
use crate::pool::monitoring::recycle_reason::RecycleReason;
use crate::schedule::WorkerKey;

impl Core {
    /// Accounts for what the driver has found, then does what time brings, then sends waiting tasks.
    ///
    /// The order of the first three steps: a worker is known before its replies are, and its tasks are not requeued
    /// before its last reply. Returns workers with slow batches: the driver must salvage their outcomes before the
    /// next tick, and not sleep. Then what time brings waits for that tick, which knows what was salvaged.
    #[must_use]
    pub(in crate::pool) fn tick(&mut self, findings: &mut Findings) -> Vec<WorkerKey> {
        self.workers.agenda.begin_turn(self.now);
        for id in findings.uncached.drain(..) {
            self.forget_cached(id);
        }
        for change in findings.changes.drain(..) {
            self.on_change(change);
        }
        for reply in &mut findings.replies {
            reply.job = match self.on_reply(reply.worker, &reply.head) {
                Ok(job) => job,
                Err(nonsense) => {
                    self.distrust(reply.worker, nonsense);
                    None
                }
            };
            if reply.head.leaves {
                self.on_leaving(reply.worker);
            }
        }
        for worker in findings.overgrown.drain(..) {
            self.leave_after_this_task(worker, Some(RecycleReason::MaxMemory));
        }
        for exit in &findings.exits {
            self.on_exit(exit);
        }
        let slow = self.flush_slow_batches();
        if slow.is_empty() {
            self.on_time();
        }
        self.pump();
        slow
    }

    fn on_change(&mut self, change: WorkerChange) {
        match change {
            WorkerChange::Started {
                worker,
                io,
                has_init,
            } => self.on_started(worker, *io, has_init),
            WorkerChange::StartFailed { worker, cause } => self.on_start_failed(worker, &cause),
            WorkerChange::Initialized {
                worker,
                result,
                packed,
            } => {
                self.effects
                    .extend(packed.into_iter().map(Effect::ReturnBlob));
                self.on_initialized(worker, result);
            }
            WorkerChange::Distrusted { worker, nonsense } => self.distrust(worker, nonsense),
        }
    }

    /// What happens because time has passed, or because a worker did something that sends no reply.
    fn on_time(&mut self) {
        self.put_off_workers();
        self.drop_started_arguments();
        self.expire();
        self.end_delays();
        self.expire_waiting();
        // Before tasks are moved: a worker that runs may take them.
        self.clear_suspicions();
        self.rebalance();
        self.stop_idle();
        self.recycle();
        self.adapt_worker_count();
        self.look_at_long_tasks();
        self.flush();
        self.put_off_workers();
        if self.breaker.half_open_at().is_some_and(|at| at <= self.now) {
            self.breaker.half_open();
            self.check_missing = true;
        }
    }
}
