//! The core's topic: what is shown of it.

use std::time::Duration;

use super::core::{Core, Effect};
use super::worker_table::Worker;
use crate::pool::monitoring::info::{WorkerInfo, WorkerState};
use crate::pool::monitoring::metrics::Metrics;
use crate::pool::monitoring::pool_event::PoolEvent;
use crate::schedule::{RunQueue, WorkerKey};
use crate::task::TaskId;

impl Core {
    /// What happens is told after the lock is released, if there has been a reader.
    pub(in crate::pool) fn tell(&mut self, event: impl FnOnce() -> PoolEvent) {
        if self.has_readers {
            self.effects.push(Effect::Tell(Box::new(event())));
        }
    }

    /// The counts, without the calls that the driver counts.
    pub(in crate::pool) fn metrics(&self) -> Metrics {
        let (mut busy, mut running) = (0, 0);
        for (worker, _) in self.workers.first_lanes() {
            let lanes = self.workers.lanes(worker);
            let queues = lanes.filter_map(|it| self.schedule.run_queue(it));
            let tasks: usize = queues.map(RunQueue::len).sum();
            busy += usize::from(tasks > 0);
            running += tasks;
        }
        let workers = self.workers.first_lanes();
        Metrics {
            workers: workers
                .filter(|(_, it)| it.is_alive() && !it.standby)
                .count(),
            busy,
            queued: self.schedule.waiting(),
            running,
            queued_bytes: self.waiting_bytes(),
            utilisation: self.utilisation(),
            breaker_open: self.breaker.is_tripped(),
            counts: self.counts.clone(),
        }
    }

    /// The workers and what they do.
    pub(in crate::pool) fn worker_infos(&self) -> Vec<WorkerInfo> {
        let workers = self.workers.first_lanes();
        workers.map(|(key, it)| self.worker_info(key, it)).collect()
    }

    fn worker_info(&self, key: WorkerKey, it: &Worker) -> WorkerInfo {
        let serves = it.serves();
        let lane = self.busiest_lane(key);
        let front = self.schedule.run_queue(lane).and_then(RunQueue::front);
        let front = front.filter(|_| serves);
        let record = front.and_then(|queued| self.records.get(queued.task));
        let state = match it.life.public(serves, front.is_some() || it.is_lent()) {
            WorkerState::Idle if it.departure.is_final() => WorkerState::Stopping,
            state => state,
        };
        WorkerInfo {
            number: it.number,
            pid: it.pid(),
            state,
            tasks_done: self.tasks_done(key) as usize,
            age: self.now.since(it.since),
            current_task: front.map(|queued| TaskId(queued.task)),
            current_function: record.map(|record| record.job.name()),
            running_for: record.and(self.running_for(lane)),
        }
    }

    /// How long the worker has run the item that has no outcome. The start is the worker's word, and never earlier than
    /// what the parent knows.
    pub(in crate::pool) fn running_for(&self, worker: WorkerKey) -> Option<Duration> {
        let queue = self.schedule.run_queue(worker)?;
        let front = queue.front()?;
        let since_progress = queue.since_progress(self.now);
        let position = self.position(front.task);
        let io = self.workers.get(worker).and_then(|it| it.life.io());
        let started = io
            .zip(position)
            .and_then(|(io, at)| io.requests.started(at));
        Some(started.map_or(since_progress, |at| since_progress.min(self.now.since(at))))
    }
}
