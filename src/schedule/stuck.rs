//! Workers without progress: whose unstarted tasks others should run, and whose batch is slow.

use std::time::Duration;

use super::{RunQueue, Schedule, TakesTasks, TaskKey, WorkerKey};
use crate::sys::clock::Moment;

/// A worker without progress for this long runs a long task: the tasks behind it are given to idle workers.
pub(super) const STUCK_AFTER: Duration = Duration::from_micros(500);

/// A batch without outcomes for this long is slow. Several times what a batch is made to last: on a busy machine a
/// worker waits for its turn, and asking for every outcome at once costs more than it gains.
const SLOW_AFTER: Duration = Duration::from_millis(2);

/// A worker without progress for this long may not have started its front task: it may be stopped, or starved. Its
/// tasks are given to others. Longer than a loaded machine takes to let a process run.
const UNSTARTED_AFTER: Duration = Duration::from_millis(20);

/// Workers without progress.
impl Schedule {
    /// A worker whose unstarted tasks should be revoked, because it made no progress for a while: others are idle and
    /// no task waits, or the worker may not run at all.
    pub(crate) fn stuck(&self, workers: &impl TakesTasks, now: Moment) -> Option<WorkerKey> {
        let others = self.others(workers);
        let stuck = self.run_queues.iter().filter(|(worker, queue)| {
            let patience = others.patience(queue, || workers.takes_tasks(*worker));
            patience.is_some_and(|patience| queue.since_progress(now) >= patience)
        });
        let longest = stuck.max_by_key(|(_, queue)| queue.backlog());
        longest.map(|(worker, _)| worker)
    }

    /// A batch without outcomes for a while, whose finished items should not wait for the rest. Each batch is
    /// returned once.
    pub(crate) fn slow_batch(&mut self, now: Moment) -> Option<(WorkerKey, TaskKey)> {
        let mut queues = self.run_queues.iter_mut();
        queues.find_map(|(worker, queue)| {
            let task = queue.unmarked_batch()?;
            (queue.since_progress(now) >= SLOW_AFTER).then(|| {
                queue.mark_slow(task);
                self.check = None;
                (worker, task)
            })
        })
    }

    /// When a worker may be stuck or a batch slow. `None` if no worker or batch can be.
    pub(crate) fn next_check(&mut self, workers: &impl TakesTasks) -> Option<Moment> {
        let check = self.check.unwrap_or_else(|| self.first_check(workers));
        debug_assert_eq!(check, self.first_check(workers), "a change was not noted");
        self.check = Some(check);
        check
    }

    pub(super) fn first_check(&self, workers: &impl TakesTasks) -> Option<Moment> {
        let others = self.others(workers);
        let checks = self.run_queues.iter().filter_map(|(worker, queue)| {
            let stuck = others.patience(queue, || workers.takes_tasks(worker));
            let slow = queue.unmarked_batch().map(|_| SLOW_AFTER);
            let limit = stuck.into_iter().chain(slow).min()?;
            Some(queue.last_progress().plus(limit))
        });
        checks.min()
    }

    fn others(&self, workers: &impl TakesTasks) -> Others {
        let (mut taking, mut idle) = (0, 0);
        for (worker, queue) in &self.run_queues {
            if workers.takes_tasks(worker) {
                taking += 1;
                idle += usize::from(queue.expected() == 0);
            }
        }
        Others {
            idle: idle > 0 && self.waiting() == 0,
            taking,
        }
    }
}

/// Which workers could take over the tasks of another.
#[derive(Debug, Clone, Copy)]
struct Others {
    /// A worker is idle, and no task waits.
    idle: bool,
    /// How many workers take tasks.
    taking: usize,
}

impl Others {
    /// How long a worker may make no progress before its unstarted tasks are revoked.
    fn patience(self, queue: &RunQueue, takes_tasks: impl Fn() -> bool) -> Option<Duration> {
        let others = || self.taking > usize::from(takes_tasks());
        if self.idle && queue.backlog() > 1 {
            Some(STUCK_AFTER)
        } else if queue.may_be_unstarted() && others() {
            Some(UNSTARTED_AFTER)
        } else {
            None
        }
    }
}
