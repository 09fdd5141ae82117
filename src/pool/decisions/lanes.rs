//! The lanes of workers: a worker that runs several tasks at a time has a lane for each.
//!
//! Lives in the application. For the schedule, the ledger and the time limits a lane is what a worker of one task is:
//! it has its own rings, its own run queue and its own task. The lanes of a worker have one process, so they are
//! started, replaced, stopped, lent out and killed together. The first lane stands for the worker wherever workers are
//! counted.
//!
//! Must stay true: the lanes of a worker come and go together; if one is stopping, all are. Only the first lane is
//! reserved: its reservation is that of all.

use std::time::Duration;

use super::core::Core;
use super::lane_fault::LaneFault;
use super::worker_state::WorkerLife;
use super::worker_table::{Worker, WorkerTable};
use crate::schedule::{RunQueue, WorkerKey};

/// The keys of the lanes of one worker, the first lane first.
pub(in crate::pool) type LaneKeys =
    std::iter::Chain<std::iter::Once<WorkerKey>, std::vec::IntoIter<WorkerKey>>;

impl Worker {
    /// Whether it stands for the whole worker.
    pub(in crate::pool) fn is_first_lane(&self) -> bool {
        self.lane.is_first
    }
}

impl WorkerTable {
    /// The first lanes: each worker once.
    pub(in crate::pool) fn first_lanes(&self) -> impl Iterator<Item = (WorkerKey, &Worker)> {
        self.iter().filter(|(_, it)| it.is_first_lane())
    }

    /// The first lane of the worker that has this lane.
    pub(in crate::pool) fn first_lane(&self, lane: WorkerKey) -> WorkerKey {
        self.get(lane).map_or(lane, |it| it.lane.first)
    }

    /// All lanes of the worker that has this one.
    pub(in crate::pool) fn lanes(&self, lane: WorkerKey) -> LaneKeys {
        let first = self.first_lane(lane);
        let others = self.get(first).map(|it| it.lane.others.clone());
        std::iter::once(first).chain(others.unwrap_or_default())
    }

    /// Whether the worker that has this lane is kept for pinned tasks or for the holder of a lease.
    pub(in crate::pool) fn is_reserved(&self, lane: WorkerKey) -> bool {
        let first = self.get(self.first_lane(lane));
        first.is_some_and(Worker::is_reserved)
    }
}

impl Core {
    /// A lane of a worker is stopping: so are the others, which are in the same process.
    pub(in crate::pool) fn stop_lanes(&mut self, lane: WorkerKey) {
        let reason = self.workers.get(lane).and_then(|it| it.life.kill_reason());
        for other in self.workers.lanes(lane) {
            let it = self.workers.get_mut(other).filter(|it| it.is_alive());
            if let Some(it) = it {
                // What must be done next was done, or is, for the lane that stopped first.
                let _ = WorkerLife::kill(&mut it.life);
                it.lane_fault = reason.map(|_| LaneFault::DidNotEnd);
            }
        }
    }

    /// Whether the worker has finished all that its lanes had, and none is kept for anything.
    pub(in crate::pool) fn has_finished(&self, worker: WorkerKey) -> bool {
        let mut lanes = self.workers.lanes(worker);
        lanes.all(|lane| self.has_lane_finished(lane))
    }

    /// Whether a lane has finished all that it had, and is not kept for anything.
    pub(in crate::pool) fn has_lane_finished(&self, lane: WorkerKey) -> bool {
        let is_free = |it: &Worker| !it.is_reserved() && it.life.is_settled();
        let queue = self.schedule.run_queue(lane);
        self.workers.get(lane).is_some_and(is_free) && queue.is_none_or(RunQueue::is_finished)
    }

    /// For how long none of the worker's lanes has had a task. `None` if one has, is kept for something, or is told to
    /// cancel its task.
    pub(in crate::pool) fn worker_idle_for(&self, worker: WorkerKey) -> Option<Duration> {
        let mut shortest = Duration::MAX;
        for lane in self.workers.lanes(worker) {
            self.workers.get(lane).filter(|it| it.takes_tasks())?;
            shortest = shortest.min(self.schedule.idle_for(lane, self.now)?);
        }
        Some(shortest)
    }

    /// How many tasks all lanes of the worker have finished.
    pub(in crate::pool) fn tasks_done(&self, worker: WorkerKey) -> u64 {
        let lanes = self.workers.lanes(worker);
        lanes
            .filter_map(|lane| Some(self.workers.get(lane)?.done))
            .sum()
    }

    /// The lane of a worker whose task has run for longest; the first lane if none runs any.
    pub(in crate::pool) fn busiest_lane(&self, worker: WorkerKey) -> WorkerKey {
        let lanes = self.workers.lanes(worker);
        // The first of several that are equal, as with no task at all.
        let longest = lanes.rev().max_by_key(|&lane| self.running_for(lane));
        longest.unwrap_or(worker)
    }
}
