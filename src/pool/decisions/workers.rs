//! The core's topic: the states of workers, and what is sent to them beside tasks.

use std::sync::Arc;
use std::time::Duration;

use super::core::{Core, Effect, Phase};
use super::records::TaskArguments;
use super::worker_state::{NextStep, WorkerIo, WorkerLife};
use super::worker_table::Worker;
use crate::error::JoinError;
use crate::pool::monitoring::pool_event::PoolEvent;
use crate::schedule::{StartFailure, WorkerKey};
use crate::sys::clock::Moment;
use crate::transfer::blob::BlobStore;
use crate::transfer::messages::ToWorker;
use crate::transfer::nonsense::Nonsense;

/// States.
impl Core {
    /// Changes the state of a worker, if there is one, and does what the transition returns.
    pub(in crate::pool) fn transition(
        &mut self,
        worker: WorkerKey,
        transition: impl FnOnce(&mut WorkerLife) -> NextStep,
    ) {
        let Some(it) = self.workers.get_mut(worker) else {
            return;
        };
        let next = transition(&mut it.life);
        if it.life.is_stopping() {
            let number = it.number;
            self.check_missing = true;
            self.stop_lanes(worker);
            self.promote_successor(number);
        }
        let cancelled = match next {
            NextStep::SendCancel(task) => self.position(task),
            _ => None,
        };
        let Some(it) = self.workers.get_mut(worker) else {
            return;
        };
        let Some(io) = it.life.io_mut() else {
            return;
        };
        match next {
            NextStep::Nothing => {}
            NextStep::Dispatch => self.schedule.workers_changed(),
            NextStep::Kill => io.signal_handle.kill(),
            NextStep::SendCancel(_) => {
                if let Some(position) = cancelled {
                    io.requests.send_cancel(position);
                }
                self.effects.push(Effect::WakeDriver);
            }
            NextStep::SendStop if io.requests.write_stop() => {}
            NextStep::SendStop => self.transition(worker, WorkerLife::kill),
            NextStep::Watch if io.requests.watch() => {}
            NextStep::Watch => self.transition(worker, WorkerLife::clear_suspicion),
        }
    }

    /// A worker's process was started. Without initializers it takes tasks at once, which wait in its ring.
    pub(in crate::pool) fn on_started(
        &mut self,
        worker: WorkerKey,
        mut io: WorkerIo,
        has_init: bool,
    ) {
        io.requests.belong_to(self.settings.id);
        // Those of its initializers.
        self.may_have_blobs = true;
        // While it is not known whether workers can start, they start one after the other.
        self.check_missing = true;
        match self.workers.get(worker) {
            Some(it) => {
                let is_first = it.is_first_lane();
                self.transition(worker, |life| life.on_started(io, has_init));
                if is_first {
                    self.tell(|| PoolEvent::WorkerStarted);
                }
            }
            None => io.signal_handle.kill(),
        }
        self.note_idle(worker);
        if self.phase == Phase::Over {
            self.transition(worker, WorkerLife::kill);
        }
    }

    /// A worker is ready for its first task.
    fn note_idle(&mut self, worker: WorkerKey) {
        if let Some(it) = self.workers.get_mut(worker) {
            it.idle_since = self.now;
        }
    }

    /// A worker could not be started.
    pub(in crate::pool) fn on_start_failed(&mut self, worker: WorkerKey, cause: &JoinError) {
        for lane in self.workers.lanes(worker).skip(1) {
            self.schedule.remove_worker(lane);
            if let Some(dead) = self.workers.remove(lane) {
                self.unpin_all(&dead);
            }
        }
        self.schedule.remove_worker(worker);
        let dead = self.workers.remove(worker);
        if let Some(dead) = &dead {
            self.unpin_all(dead);
        }
        // The start of a worker that is not wanted any more says nothing about other starts.
        if let Some(dead) = dead.filter(Worker::is_alive) {
            self.count_failed_start(StartFailure::ByItself, dead.since, cause);
        }
    }

    /// A worker has run its initializers, or one has failed.
    pub(in crate::pool) fn on_initialized(
        &mut self,
        worker: WorkerKey,
        result: Result<(), JoinError>,
    ) {
        let Some(it) = self.workers.get_mut(worker) else {
            return;
        };
        let began = it.since;
        it.setup_failure = result.as_ref().err().cloned();
        match result {
            Ok(()) => {
                for lane in self.workers.lanes(worker) {
                    self.transition(lane, WorkerLife::on_initialized);
                    self.note_idle(lane);
                }
                self.on_proven(worker);
            }
            Err(cause) => {
                self.transition(worker, WorkerLife::kill);
                self.count_failed_start(StartFailure::ByItself, began, &cause);
            }
        }
    }

    /// A worker has done something, so workers are able to start.
    pub(in crate::pool) fn on_proven(&mut self, worker: WorkerKey) {
        let first = self.workers.first_lane(worker);
        let Some(it) = self.workers.get_mut(first) else {
            return;
        };
        if !std::mem::replace(&mut it.proven, true) {
            self.generations += 1;
            self.close_breaker();
        }
    }

    /// A worker wrote what cannot be. Nothing is read from it any more, and it is killed.
    pub(in crate::pool) fn distrust(&mut self, worker: WorkerKey, nonsense: Nonsense) {
        let Some(it) = self.workers.get_mut(worker) else {
            return;
        };
        if it.nonsense.replace(nonsense).is_none() {
            self.counts.corrupted += 1;
            #[cfg(feature = "tracing")]
            tracing::warn!(
                pool = self.settings.name.as_deref(),
                worker = it.number,
                pid = it.pid(),
                "a worker wrote what cannot be, and is killed: {nonsense}"
            );
        }
        self.transition(worker, WorkerLife::kill);
    }
}

/// Messages.
impl Core {
    /// Sends messages that could not be sent before, and lets the schedule send tasks to workers that have space.
    pub(in crate::pool) fn flush(&mut self) {
        self.for_each_due(|core, worker| {
            if let Some(io) = core.workers.io_mut(worker) {
                // A message that cannot be sent now is sent by a later call.
                let _ = io.requests.send_unsent();
                core.schedule.may_have_space(worker);
            }
        });
        self.schedule.look_again();
    }

    /// Drops the arguments of started tasks that hold descriptors: the task is not sent again, and an end of a channel
    /// among them must be the task's alone.
    pub(in crate::pool) fn drop_started_arguments(&mut self) {
        self.for_each_due(Self::drop_started_arguments_of);
    }

    fn drop_started_arguments_of(&mut self, worker: WorkerKey) {
        let Some(it) = self.workers.get_mut(worker) else {
            return;
        };
        if it.has_fds.is_empty() {
            return;
        }
        let Some(io) = it.life.io() else {
            return;
        };
        it.has_fds.retain(|key| {
            let Some(record) = self.records.get_mut(*key) else {
                return false;
            };
            // A request that was released has a reply on the way, which drops the arguments.
            let position = record.position_at(worker);
            let Some(position) = position.filter(|at| !io.requests.released(*at)) else {
                return false;
            };
            if io.requests.claimed(position) == 0 {
                return true;
            }
            if let TaskArguments::Packed(packed) = &mut record.arguments {
                packed.attachments.clear();
            }
            let job = Arc::clone(&record.job);
            self.effects.push(Effect::ForgetArguments(job));
            false
        });
    }

    /// Tells the worker whose memory for arguments is from `store` that its blob `id` was freed.
    pub(in crate::pool) fn forget_blob(&mut self, store: &BlobStore, id: u64) {
        let mut all = self.workers.iter_mut();
        let mut all = all.by_ref().filter_map(|(_, it)| it.life.io_mut());
        if let Some(io) = all.find(|io| Arc::ptr_eq(io.requests.blobs(), store)) {
            io.requests.forget(&[id]);
        }
    }

    /// Has all workers drop a cached value.
    pub(in crate::pool) fn forget_cached(&mut self, id: u64) {
        for (_, it) in self.workers.iter_mut() {
            if let Some(io) = it.life.io_mut() {
                io.requests.forget_cached(id);
            }
        }
    }

    /// Whether there is memory for arguments that is not in use.
    pub(in crate::pool) fn has_free_blobs(&mut self) -> bool {
        if !self.may_have_blobs {
            return false;
        }
        let workers = self.workers.iter();
        let stores = workers.filter_map(|(_, it)| Some(it.life.io()?.requests.lock_blobs()));
        let (mut any, mut free) = (false, false);
        for store in stores {
            any |= !store.is_empty();
            free |= store.has_free();
        }
        self.may_have_blobs = any;
        free
    }

    /// Frees memory for arguments that is not in use.
    pub(in crate::pool) fn trim_blobs(&mut self) {
        for (_, it) in self.workers.iter_mut() {
            if let Some(io) = it.life.io_mut() {
                io.requests.trim_blobs();
            }
        }
    }

    /// Asks workers whose task runs for long to look whether the thread that runs it has ended.
    pub(in crate::pool) fn look_at_long_tasks(&mut self) {
        self.for_each_due(Self::look_at_long_task);
    }

    fn look_at_long_task(&mut self, worker: WorkerKey) {
        let Some(since) = self.runs_since(worker) else {
            return;
        };
        let ran = self.now.since(since);
        let Some(it) = self.workers.get_mut(worker) else {
            return;
        };
        if ran < it.looked_after {
            it.looked_after = Duration::ZERO; // another task
        }
        if ran >= it.next_look() {
            it.looked_after = ran;
            if let Some(io) = it.life.io_mut() {
                io.requests.send(ToWorker::CheckTaskThread);
            }
        }
    }

    /// When the worker must be asked next to look at itself.
    pub(in crate::pool) fn look_at(&self, worker: WorkerKey) -> Option<Moment> {
        let since = self.runs_since(worker)?;
        let it = self.workers.get(worker)?;
        Some(since.plus(it.next_look()))
    }

    /// Since when a worker has run its task, or its initializer, without an outcome.
    fn runs_since(&self, worker: WorkerKey) -> Option<Moment> {
        let it = self.workers.get(worker)?;
        it.life.io()?;
        if it.life.is_preparing() {
            return Some(it.since);
        }
        let queue = self.schedule.run_queue(worker)?;
        queue.front()?;
        Some(queue.last_progress())
    }

    /// Tells all workers to free the memory of idle blobs.
    pub(in crate::pool) fn trim_workers(&mut self) {
        for (_, it) in self.workers.iter_mut() {
            if let Some(io) = it.life.io_mut() {
                io.requests.send(ToWorker::Trim);
            }
        }
    }

    /// The worker's blob was read, or did not arrive: then the worker must not use it again.
    pub(in crate::pool) fn return_worker_blob(
        &mut self,
        worker: WorkerKey,
        pid: u32,
        id: u64,
        arrived: bool,
    ) {
        // Another worker may have the key of a dead one, with blobs of the same numbers.
        let it = self.workers.get_mut(worker);
        let Some(it) = it.filter(|it| it.pid() == Some(pid)) else {
            return;
        };
        if let Some(io) = it.life.io_mut() {
            io.requests.send(match arrived {
                true => ToWorker::Returned { id },
                false => ToWorker::Lost { id },
            });
        }
    }
}
