//! The core's topic: the call of the exit function in a worker that leaves.
//!
//! It is sent when the worker has finished its last task, and the worker is told to stop when it has replied. Its
//! arguments are encoded outside the lock, as all are. A worker that has lost its state is stopping already: it takes
//! nothing but this call.

use std::sync::Arc;
use std::time::Duration;

use super::close::LONGEST_LEAVING;
use super::core::{Core, Effect, Failure};
use super::exit_stage::{ExitArguments, ExitStage};
use super::worker_state::{WorkerIo, WorkerLife};
use crate::call::Written;
use crate::call::envelope::Reply;
use crate::call::job::Job;
use crate::error::{ErrorKind, JoinError};
use crate::pool::driving::exit_call::EXIT_TASK;
use crate::pool::driving::findings::JobOutcomes;
use crate::schedule::WorkerKey;
use crate::sys::clock::Moment;

/// How long an exit function may run, if tasks may run for ever. A worker that leaves must not stay.
const LONGEST_EXIT: Duration = Duration::from_secs(60);

impl Core {
    /// Ends a worker that leaves, if it has finished its last task.
    pub(in crate::pool) fn end_if_finished(&mut self, worker: WorkerKey) {
        let worker = self.workers.first_lane(worker);
        let Some(it) = self.workers.get(worker) else {
            return;
        };
        let leaves = it.is_alive() && it.departure.is_final();
        if !leaves || !self.has_finished(worker) {
            return;
        }
        match it.exit_stage {
            ExitStage::Unsent if it.exit_job.is_some() && it.life.takes_requests() => {
                self.call_exit_function(worker);
            }
            ExitStage::Unsent if self.settings.state.is_some() => {
                let kill_at = self.now.plus(LONGEST_LEAVING);
                self.transition(worker, |life| life.stop_prepared(kill_at));
            }
            ExitStage::Unsent => self.transition(worker, WorkerLife::stop),
            _ => self.end_slow_exit(worker),
        }
    }

    /// A worker that has lost its state is sent the call when it has released what was revoked.
    pub(in crate::pool) fn end_if_drained(&mut self, worker: WorkerKey) {
        let Some(it) = self.workers.get_mut(worker) else {
            return;
        };
        if !it.life.is_leaving() {
            return;
        }
        let is_draining = it.exit_stage == ExitStage::Draining;
        let is_drained = |io: &mut WorkerIo| !io.requests.watch();
        if is_draining && it.life.io_mut().is_some_and(is_drained) {
            return self.call_exit_function(worker);
        }
        self.end_slow_exit(worker);
    }

    /// Kills a worker whose exit function runs for too long.
    fn end_slow_exit(&mut self, worker: WorkerKey) {
        if self.exit_limit(worker).is_some_and(|at| at <= self.now) {
            self.fail_exit_function(worker, ErrorKind::TimedOut);
            self.transition(worker, WorkerLife::kill);
        }
    }

    /// The worker has nothing more to run.
    fn end_after_exit(&mut self, worker: WorkerKey) {
        let kill_at = self.now.plus(LONGEST_LEAVING);
        let Some(it) = self.workers.get_mut(worker) else {
            return;
        };
        it.exit_stage = ExitStage::Over;
        if !it.life.is_leaving() {
            return self.transition(worker, WorkerLife::stop);
        }
        it.life.put_off_kill(kill_at);
        let number = it.number;
        let is_told = it.life.io_mut().is_some_and(|io| io.requests.write_stop());
        if !is_told {
            self.transition(worker, WorkerLife::kill);
        }
        self.promote_successor(number);
    }

    fn call_exit_function(&mut self, worker: WorkerKey) {
        let Some(it) = self.workers.get_mut(worker) else {
            return;
        };
        let (Some(io), Some(job)) = (it.life.io(), &it.exit_job) else {
            return;
        };
        it.exit_stage = ExitStage::Encoding;
        let (store, job) = (Arc::clone(io.requests.blobs()), Arc::clone(job));
        self.effects.push(Effect::EncodeExit(it.serial, store, job));
    }

    /// The arguments of the exit function of the worker with this serial number were encoded; `None` if they cannot be.
    pub(in crate::pool) fn on_exit_encoded(
        &mut self,
        serial: u64,
        job: &dyn Job,
        arguments: Option<ExitArguments>,
    ) {
        self.may_have_blobs = true;
        let limit = self.settings.task_timeout.unwrap_or(LONGEST_EXIT);
        let until = self.now.plus(limit);
        let found = self.workers.iter_mut().find(|(_, it)| it.serial == serial);
        let Some((worker, it)) = found else {
            return;
        };
        let is_sent = it
            .life
            .io_mut()
            .zip(arguments)
            .is_some_and(|(io, arguments)| {
                let written = match arguments {
                    ExitArguments::Items(mut items) => {
                        io.requests.write_items(EXIT_TASK, job, &mut items, false)
                    }
                    ExitArguments::Blob(packed) => {
                        let written = io.requests.write_blob(EXIT_TASK, job, &packed);
                        it.exit_blob = Some(packed);
                        written
                    }
                };
                io.requests.wake();
                matches!(written, Written::Sent { .. })
            });
        it.exit_stage = ExitStage::Runs { until };
        it.life.put_off_kill(until.plus(LONGEST_LEAVING));
        match is_sent {
            true => {
                it.ledger.sent(EXIT_TASK, 1, self.now);
                self.run_driver_by(Some(until));
            }
            false => self.end_after_exit(worker),
        }
    }

    /// The exit function of a worker has an outcome. Returns its job, and that the outcome counts.
    pub(in crate::pool) fn on_exit_reply(
        &mut self,
        worker: WorkerKey,
        head: &Reply,
    ) -> Option<JobOutcomes> {
        let job = self.workers.get_mut(worker)?.exit_job.take();
        if head.last {
            self.end_after_exit(worker);
        }
        Some(JobOutcomes {
            job: job?,
            count: head.count,
            asks_rule: false,
        })
    }

    /// A worker has ended, or is killed, before its exit function had an outcome.
    pub(in crate::pool) fn fail_exit_function(&mut self, worker: WorkerKey, kind: ErrorKind) {
        let Some(it) = self.workers.get_mut(worker) else {
            return;
        };
        let error = |job: &dyn Job| JoinError::new(kind, job.name()).after_start(true);
        if let Some(job) = it.exit_job.take() {
            let error = match it.pid() {
                Some(pid) => error(&*job).in_process(pid),
                None => error(&*job),
            };
            self.fail_uncounted(Failure {
                job,
                first: 0,
                count: 1,
                error,
            });
        }
    }

    /// When the exit function of the worker has run for too long.
    pub(in crate::pool) fn exit_limit(&self, worker: WorkerKey) -> Option<Moment> {
        let it = self.workers.get(worker)?;
        match it.exit_stage {
            ExitStage::Runs { until } if it.is_alive() || it.life.is_leaving() => Some(until),
            _ => None,
        }
    }
}
