//! All workers of a pool, by the schedule's keys.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::departure::Departure;
use super::exit_stage::ExitStage;
use super::ledger::Ledger;
use super::target::{Reservation, WorkerId};
use super::worker_state::{WorkerIo, WorkerLife};
use crate::call::job::Job;
use crate::schedule::{TakesTasks, TaskKey, WorkerKey};
use crate::sys::clock::Moment;
use crate::transfer::blob::PackedBlob;
use crate::transfer::nonsense::Nonsense;

/// A worker is asked to look at itself when its task has run for so long. Then after twice the time each time, but not
/// later than this after the last look.
const FIRST_SELF_LOOK: Duration = Duration::from_secs(1);
const LONGEST_UNTIL_LOOK: Duration = Duration::from_secs(30);

/// One worker.
#[derive(Debug)]
pub(super) struct Worker {
    /// Tasks that only this worker may run, and that it was not sent.
    pub(super) pinned: VecDeque<TaskKey>,
    pub(super) reservation: Reservation,
    /// The number in its name. A worker that replaces another has the same.
    pub(super) number: usize,
    pub(super) life: WorkerLife,
    /// Whether the worker has run its initializer or finished a task, and so was able to start.
    pub(super) proven: bool,
    /// How many tasks it has finished.
    pub(super) done: u64,
    /// When its start was decided.
    pub(super) since: Moment,
    /// For how long its task had run when the worker was last asked to look at itself.
    pub(super) looked_after: Duration,
    /// Whether requests were written since the worker was last woken.
    pub(super) must_wake: bool,
    /// Tasks in its ring whose descriptors this process holds too, until they have started.
    pub(super) has_fds: Vec<TaskKey>,
    /// What it was sent and has not replied to.
    pub(super) ledger: Ledger,
    /// Whether it was killed because it did not start a task in time.
    pub(super) unresponsive: bool,
    /// Why nothing is read from it any more.
    pub(super) nonsense: Option<Nonsense>,
    /// No other worker of the pool has, or had, this one.
    pub(super) serial: u64,
    pub(super) departure: Departure,
    /// Whether it waits for a worker with its number to finish its last task.
    pub(super) standby: bool,
    /// The call of its exit function, until that has an outcome. `None` if it has none.
    pub(super) exit_job: Option<Arc<dyn Job>>,
    pub(super) exit_stage: ExitStage,
    /// The arguments of its exit function, if they were large.
    pub(super) exit_blob: Option<PackedBlob>,
    /// How many tasks it may be sent.
    pub(super) quota: u64,
    /// When it is old enough to be replaced.
    pub(super) expires: Option<Moment>,
    /// When it became ready to take tasks, if it had none since.
    pub(super) idle_since: Moment,
}

impl Worker {
    /// The id of its process, if it has one.
    pub(super) fn pid(&self) -> Option<u32> {
        self.life.io().map(|io| io.signal_handle.pid())
    }

    /// Whether the worker was neither killed nor told to exit.
    pub(super) fn is_alive(&self) -> bool {
        !self.life.is_stopping()
    }

    /// Whether it is kept for pinned tasks or for the holder of a lease.
    pub(super) fn is_reserved(&self) -> bool {
        self.reservation != Reservation::None || !self.pinned.is_empty()
    }

    /// Its id.
    pub(super) fn id(&self) -> WorkerId {
        WorkerId(self.serial)
    }

    /// Whether it is lent out.
    pub(super) fn is_lent(&self) -> bool {
        self.reservation == Reservation::Lent
    }

    /// Whether it may be given a pinned task, also if it is to leave.
    pub(super) fn takes_pinned(&self) -> bool {
        !self.standby && self.life.takes_tasks()
    }

    /// Whether it may be given a task now.
    pub(super) fn takes_tasks(&self) -> bool {
        !self.is_reserved()
            && self.departure.allows_tasks()
            && !self.standby
            && self.life.takes_tasks()
    }

    /// After which run time of its task the worker is asked again to look at itself.
    pub(super) fn next_look(&self) -> Duration {
        let twice = self.looked_after * 2;
        twice
            .min(self.looked_after + LONGEST_UNTIL_LOOK)
            .max(FIRST_SELF_LOOK)
    }

    /// Whether it is not known yet that the worker is able to start.
    pub(super) fn is_starting(&self) -> bool {
        self.is_alive() && !self.proven
    }
}

/// The workers of a pool.
#[derive(Debug, Default)]
pub(super) struct WorkerTable(Vec<Option<Worker>>);

impl WorkerTable {
    pub(super) fn get(&self, key: WorkerKey) -> Option<&Worker> {
        self.0.get(key)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, key: WorkerKey) -> Option<&mut Worker> {
        self.0.get_mut(key)?.as_mut()
    }

    /// The way to the worker's process, if there is one.
    pub(super) fn io_mut(&mut self, key: WorkerKey) -> Option<&mut WorkerIo> {
        self.get_mut(key)?.life.io_mut()
    }

    pub(super) fn insert(&mut self, key: WorkerKey, worker: Worker) {
        if self.0.len() <= key {
            self.0.resize_with(key + 1, || None);
        }
        self.0[key] = Some(worker);
    }

    pub(super) fn remove(&mut self, key: WorkerKey) -> Option<Worker> {
        self.0.get_mut(key)?.take()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Whether any worker runs tasks, or may be able to when it has started.
    pub(super) fn any_alive(&self) -> bool {
        self.iter().any(|(_, it)| it.is_alive())
    }

    /// All keys that workers have, and perhaps others.
    pub(super) fn keys(&self) -> std::ops::Range<WorkerKey> {
        0..self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (WorkerKey, &Worker)> {
        let workers = self.0.iter().enumerate();
        workers.filter_map(|(key, worker)| Some((key, worker.as_ref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (WorkerKey, &mut Worker)> {
        let workers = self.0.iter_mut().enumerate();
        workers.filter_map(|(key, worker)| Some((key, worker.as_mut()?)))
    }
}

impl TakesTasks for WorkerTable {
    fn takes_tasks(&self, worker: WorkerKey) -> bool {
        self.get(worker).is_some_and(Worker::takes_tasks)
    }
}
