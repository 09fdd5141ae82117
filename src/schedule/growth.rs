//! Whether more workers would help.

use std::time::Duration;

use super::stuck::STUCK_AFTER;
use super::{Schedule, TakesTasks, WorkerKey};
use crate::schedule::run_queue::RunQueue;
use crate::sys::clock::Moment;

impl Schedule {
    /// How long a task runs, as far as is known.
    pub(crate) fn mean_time(&self) -> Option<Duration> {
        self.mean_time.get()
    }

    /// The time until work has waited too long behind a task that runs. `None` if no work waits, or a worker is idle.
    pub(crate) fn next_delay(&self, workers: &impl TakesTasks, now: Moment) -> Option<Duration> {
        let waiting = self.waiting() > 0;
        if !waiting && self.idle(workers) > 0 {
            return None;
        }
        let busy = self.run_queues.iter().map(|(_, queue)| queue);
        let busy = busy.filter(|queue| queue.front().is_some() && (waiting || queue.backlog() > 1));
        let waits = busy.map(|queue| STUCK_AFTER.saturating_sub(queue.since_progress(now)));
        waits.min()
    }

    /// For how long a worker has had no task. `None` if it has one, or will be sent one.
    pub(crate) fn idle_for(&self, worker: WorkerKey, now: Moment) -> Option<Duration> {
        let queue: &RunQueue = self.run_queues.get(worker)?;
        (queue.expected() == 0).then(|| queue.since_progress(now))
    }
}
