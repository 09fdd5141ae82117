//! All workers of a pool, by the schedule's keys.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::agenda::Agenda;
use super::departure::Departure;
use super::exit_stage::ExitStage;
use super::lane_fault::LaneFault;
use super::target::{Reservation, WorkerId};
use super::worker_state::{WorkerIo, WorkerLife};
use crate::call::job::Job;
use crate::error::JoinError;
use crate::pool::driving::ledger::Ledger;
use crate::schedule::{TakesTasks, TaskKey, WorkerKey};
use crate::sys::clock::Moment;
use crate::transfer::blob::PackedBlob;
use crate::transfer::nonsense::Nonsense;

/// A worker is asked to look at itself when its task has run for so long. Then after twice the time each time, but not
/// later than this after the last look.
const FIRST_SELF_LOOK: Duration = Duration::from_secs(1);
const LONGEST_UNTIL_LOOK: Duration = Duration::from_secs(30);

/// One worker, or one lane of a worker that runs several tasks at a time.
#[derive(Debug)]
pub(in crate::pool) struct Worker {
    pub(in crate::pool) lane: LanePlace,
    /// Tasks that only this worker may run, and that it was not sent.
    pub(in crate::pool) pinned: VecDeque<TaskKey>,
    pub(in crate::pool) reservation: Reservation,
    /// The number in its name. A worker that replaces another has the same.
    pub(in crate::pool) number: usize,
    pub(in crate::pool) life: WorkerLife,
    /// Whether the worker has run its initializer or finished a task, and so was able to start.
    pub(in crate::pool) proven: bool,
    /// How many tasks it has finished.
    pub(in crate::pool) done: u64,
    /// When its start was decided.
    pub(in crate::pool) since: Moment,
    /// For how long its task had run when the worker was last asked to look at itself.
    pub(in crate::pool) looked_after: Duration,
    /// Whether requests were written since the worker was last woken.
    pub(in crate::pool) must_wake: bool,
    /// Tasks in its ring whose descriptors this process holds too, until they have started.
    pub(in crate::pool) has_fds: Vec<TaskKey>,
    /// What it was sent and has not replied to.
    pub(in crate::pool) ledger: Ledger,
    /// Why the task of another lane has ended this one.
    pub(in crate::pool) lane_fault: Option<LaneFault>,
    /// Whether it was killed because it did not start a task in time.
    pub(in crate::pool) unresponsive: bool,
    /// How its initializer has failed.
    pub(in crate::pool) setup_failure: Option<JoinError>,
    /// Why nothing is read from it any more.
    pub(in crate::pool) nonsense: Option<Nonsense>,
    /// The end of its stderr, if it has crashed and its stderr is captured.
    pub(in crate::pool) stderr: String,
    /// No other worker of the pool has, or had, this one.
    pub(in crate::pool) serial: u64,
    pub(in crate::pool) departure: Departure,
    /// Whether it waits for a worker with its number to finish its last task.
    pub(in crate::pool) standby: bool,
    /// The call of its exit function, until that has an outcome. `None` if it has none.
    pub(in crate::pool) exit_job: Option<Arc<dyn Job>>,
    pub(in crate::pool) exit_stage: ExitStage,
    /// The arguments of its exit function, if they were large.
    pub(in crate::pool) exit_blob: Option<PackedBlob>,
    /// How many tasks it may be sent.
    pub(in crate::pool) quota: u64,
    /// When it is old enough to be replaced.
    pub(in crate::pool) expires: Option<Moment>,
    /// When it became ready to take tasks, if it had none since.
    pub(in crate::pool) idle_since: Moment,
    /// Whether it took tasks when the schedule last asked for changes.
    pub(in crate::pool) was_taking: bool,
}

impl Worker {
    /// The id of its process, if it has one.
    pub(in crate::pool) fn pid(&self) -> Option<u32> {
        self.life.io().map(|io| io.signal_handle.pid())
    }

    /// Whether the worker was neither killed nor told to exit.
    pub(in crate::pool) fn is_alive(&self) -> bool {
        !self.life.is_stopping()
    }

    /// Whether its process says that it takes requests.
    pub(in crate::pool) fn serves(&self) -> bool {
        self.life.io().is_some_and(|io| io.requests.is_served())
    }

    /// Whether it is kept for pinned tasks or for the holder of a lease.
    pub(in crate::pool) fn is_reserved(&self) -> bool {
        self.reservation != Reservation::None || !self.pinned.is_empty()
    }

    pub(in crate::pool) fn id(&self) -> WorkerId {
        WorkerId(self.serial)
    }

    /// Whether it is lent out.
    pub(in crate::pool) fn is_lent(&self) -> bool {
        self.reservation == Reservation::Lent
    }

    /// Whether it may be given a pinned task, also if it is to leave.
    pub(in crate::pool) fn takes_pinned(&self) -> bool {
        !self.standby && self.life.takes_tasks()
    }

    /// Whether it may be given a task now, if the first lane of its worker is not reserved.
    pub(in crate::pool) fn takes_tasks(&self) -> bool {
        !self.is_reserved()
            && self.departure.allows_tasks()
            && !self.standby
            && self.life.takes_tasks()
    }

    /// After which run time of its task the worker is asked again to look at itself.
    pub(in crate::pool) fn next_look(&self) -> Duration {
        let twice = self.looked_after * 2;
        twice
            .min(self.looked_after + LONGEST_UNTIL_LOOK)
            .max(FIRST_SELF_LOOK)
    }

    /// Whether it is not known yet that the worker is able to start.
    pub(in crate::pool) fn is_starting(&self) -> bool {
        let has_started = self.proven || !self.life.is_preparing() && self.serves();
        self.is_alive() && !has_started
    }
}

/// Which of the lanes of its worker a lane is.
#[derive(Debug, Clone)]
pub(in crate::pool) struct LanePlace {
    pub(in crate::pool) first: WorkerKey,
    pub(in crate::pool) is_first: bool,
    /// The other lanes of a first lane. Most workers have none.
    pub(in crate::pool) others: Vec<WorkerKey>,
}

/// The workers of a pool, each with all its lanes. A worker that is changed is noted in the agenda.
#[derive(Debug, Default)]
pub(in crate::pool) struct WorkerTable {
    workers: Vec<Option<Worker>>,
    pub(in crate::pool) agenda: Agenda,
}

impl WorkerTable {
    pub(in crate::pool) fn get(&self, key: WorkerKey) -> Option<&Worker> {
        self.workers.get(key)?.as_ref()
    }

    #[inline]
    pub(in crate::pool) fn get_mut(&mut self, key: WorkerKey) -> Option<&mut Worker> {
        let worker = self.workers.get_mut(key)?.as_mut()?;
        self.agenda.note(key);
        Some(worker)
    }

    /// The way to the worker's process, if there is one.
    pub(in crate::pool) fn io_mut(&mut self, key: WorkerKey) -> Option<&mut WorkerIo> {
        self.get_mut(key)?.life.io_mut()
    }

    pub(in crate::pool) fn insert(&mut self, key: WorkerKey, worker: Worker) {
        if self.workers.len() <= key {
            self.workers.resize_with(key + 1, || None);
        }
        self.workers[key] = Some(worker);
        self.agenda.note(key);
    }

    pub(in crate::pool) fn remove(&mut self, key: WorkerKey) -> Option<Worker> {
        self.workers.get_mut(key)?.take()
    }

    pub(in crate::pool) fn clear(&mut self) {
        self.workers.clear();
    }

    pub(in crate::pool) fn is_empty(&self) -> bool {
        self.workers.iter().all(Option::is_none)
    }

    /// Whether any worker runs tasks, or may be able to when it has started.
    pub(in crate::pool) fn any_alive(&self) -> bool {
        self.iter().any(|(_, it)| it.is_alive())
    }

    /// All keys that workers have, and perhaps others.
    pub(in crate::pool) fn keys(&self) -> std::ops::Range<WorkerKey> {
        0..self.workers.len()
    }

    pub(in crate::pool) fn iter(&self) -> impl Iterator<Item = (WorkerKey, &Worker)> {
        let workers = self.workers.iter().enumerate();
        workers.filter_map(|(key, worker)| Some((key, worker.as_ref()?)))
    }

    pub(in crate::pool) fn iter_mut(&mut self) -> impl Iterator<Item = (WorkerKey, &mut Worker)> {
        let agenda = &mut self.agenda;
        let workers = self.workers.iter_mut().enumerate();
        workers.filter_map(|(key, worker)| {
            let worker = worker.as_mut()?;
            agenda.note(key);
            Some((key, worker))
        })
    }
}

impl TakesTasks for WorkerTable {
    fn takes_tasks(&self, worker: WorkerKey) -> bool {
        self.get(worker)
            .is_some_and(|it| it.takes_tasks() && (it.is_first_lane() || !self.is_reserved(worker)))
    }

    fn same_process(&self, worker: WorkerKey) -> impl Iterator<Item = WorkerKey> {
        self.lanes(worker)
    }
}
