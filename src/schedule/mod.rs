//! Who runs what next. A pure state machine: events in, decisions out.
//!
//! Tasks wait in three queues by priority. Every worker that is ready has a **line**: the task it runs
//! and a few behind it, so that it never waits for the parent between two tasks. How many depends on
//! how long tasks take: the line should last longer than the parent takes to notice, and no longer.
//! What stands in a line and was not started can be taken back, when another worker is idle and this one
//! has not moved for a while.
//!
//! Never here: a clock, a descriptor, a future. Time is a number that comes with the event.

mod mean_time;
mod run_queue;
mod start_breaker;

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use slab::Slab;

pub(crate) use mean_time::MeanTime;
pub(crate) use run_queue::{Entry, Line};
pub(crate) use start_breaker::StartBreaker;

use crate::sys::clock::Moment;

/// Which tasks go first. Within one priority they go in the order in which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Priority {
    /// After all others.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Before all others.
    High,
}

/// A worker, for as long as the schedule knows it.
pub(crate) type WorkerKey = usize;

/// A task's identity.
pub(crate) type TaskKey = u64;

/// The line should hold work for so long: several times what the parent takes to notice a reply.
const LINE_LASTS: Duration = Duration::from_micros(300);

/// The shortest line: one task runs, one waits.
const SHORTEST_LINE: usize = 2;

/// Tasks that take so long do not wait in a line: the gap between two of them is nothing beside them,
/// and a worker that comes free takes whichever is next.
const LONG: Duration = Duration::from_millis(20);

/// The longest line, for tasks of no length. Bounds what one death sends back to the queue.
const LONGEST_LINE: usize = 128;

/// So many withdrawn tasks may stay in the queues until their turn comes, if as many are still wanted.
const MOST_WITHDRAWN: usize = 64;

/// A worker that has not finished anything for so long runs something long: what stands behind it is
/// given to others.
const STUCK: Duration = Duration::from_micros(500);

/// A batch that has given nothing for so long is slow. Several times what a batch is made to last: on a busy machine
/// a worker waits for its turn meanwhile, and asking for every outcome at once costs more than it gains.
const SLOW: Duration = Duration::from_millis(2);

/// A worker that has not finished anything for so long may not even have begun: it may be stopped, or starved.
/// What it was given is given to others. Longer than a loaded machine takes to let a process run.
const ASLEEP: Duration = Duration::from_millis(20);

/// The share of the newest task in the mean time of a task.
const NEWEST_SHARE: f64 = 1.0 / 8.0;

/// See the module.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// By priority, low first.
    waiting: [VecDeque<TaskKey>; 3],
    /// Tasks that were withdrawn while they waited; skipped when their turn comes.
    withdrawn: HashSet<TaskKey>,
    lines: Slab<Line>,
    mean_time: MeanTime,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            waiting: Default::default(),
            withdrawn: HashSet::new(),
            lines: Slab::new(),
            mean_time: MeanTime::new(NEWEST_SHARE),
        }
    }
}

impl Schedule {
    /// A worker is on its way.
    pub(crate) fn add_worker(&mut self) -> WorkerKey {
        self.lines.insert(Line::default())
    }

    /// The worker takes tasks from now on.
    pub(crate) fn ready(&mut self, worker: WorkerKey, now: Moment) {
        if let Some(line) = self.lines.get_mut(worker) {
            line.open(now);
        }
    }

    /// The worker takes no more tasks; what stands in its line stays there.
    pub(crate) fn close(&mut self, worker: WorkerKey) {
        if let Some(line) = self.lines.get_mut(worker) {
            line.close();
        }
    }

    /// The worker is gone. Returns what stood in its line, in order.
    pub(crate) fn remove_worker(&mut self, worker: WorkerKey) -> VecDeque<Entry> {
        match self.lines.try_remove(worker) {
            Some(line) => line.into_entries(),
            None => VecDeque::new(),
        }
    }

    /// The worker's line.
    pub(crate) fn line(&self, worker: WorkerKey) -> Option<&Line> {
        self.lines.get(worker)
    }

    /// A task has come.
    pub(crate) fn submit(&mut self, task: TaskKey, priority: Priority) {
        self.waiting[priority as usize].push_back(task);
    }

    /// A task that had been given to a worker waits again, before all others of its priority.
    pub(crate) fn submit_again(&mut self, task: TaskKey, priority: Priority) {
        self.waiting[priority as usize].push_front(task);
    }

    /// A waiting task is not wanted any more.
    pub(crate) fn withdraw(&mut self, task: TaskKey) {
        self.withdrawn.insert(task);
        // Where nothing is given out for long, what comes and goes must not pile up.
        if self.withdrawn.len() > MOST_WITHDRAWN && self.waiting() < self.withdrawn.len() {
            let withdrawn = std::mem::take(&mut self.withdrawn);
            for queue in &mut self.waiting {
                queue.retain(|task| !withdrawn.contains(task));
            }
        }
    }

    /// How many tasks wait for a worker.
    pub(crate) fn waiting(&self) -> usize {
        let queued: usize = self.waiting.iter().map(VecDeque::len).sum();
        queued - self.withdrawn.len()
    }

    /// The task that is given out next.
    pub(crate) fn first_waiting(&self) -> Option<TaskKey> {
        let mut queues = self.waiting.iter().rev().flatten();
        queues.find(|task| !self.withdrawn.contains(task)).copied()
    }

    /// Takes every waiting task.
    pub(crate) fn take_waiting(&mut self) -> Vec<TaskKey> {
        let withdrawn = std::mem::take(&mut self.withdrawn);
        let queues = self.waiting.iter_mut().rev();
        queues
            .flat_map(|queue| queue.drain(..))
            .filter(|task| !withdrawn.contains(task))
            .collect()
    }

    /// The next task, and the worker it should be given to. The caller says what became of it with
    /// [`Schedule::sent`], [`Schedule::no_space`] or [`Schedule::submit_again`].
    pub(crate) fn next(&mut self) -> Option<(WorkerKey, TaskKey)> {
        let worker = self.shortest_line()?;
        let task = self.pop_waiting()?;
        Some((worker, task))
    }

    /// `task`, of so many items, stands in the worker's line.
    pub(crate) fn sent(&mut self, worker: WorkerKey, task: TaskKey, items: usize, now: Moment) {
        if let Some(line) = self.lines.get_mut(worker) {
            let entry = Entry {
                task,
                items,
                batch: items > 1,
            };
            line.push(entry, now);
        }
    }

    /// The worker can take nothing more until it has finished something.
    pub(crate) fn no_space(&mut self, worker: WorkerKey) {
        if let Some(line) = self.lines.get_mut(worker) {
            line.fill();
        }
    }

    /// The worker can take more again.
    pub(crate) fn space(&mut self, worker: WorkerKey) {
        if let Some(line) = self.lines.get_mut(worker) {
            line.unfill();
        }
    }

    /// The worker has finished `task`, which took so long.
    pub(crate) fn finished(
        &mut self,
        worker: WorkerKey,
        task: TaskKey,
        took: Duration,
        now: Moment,
    ) {
        if let Some(line) = self.lines.get_mut(worker) {
            line.moved(now);
            line.remove(task);
        }
        self.mean_time.add(took, 1);
    }

    /// The worker has finished some of the items of `task`; so many are left.
    pub(crate) fn progress(&mut self, worker: WorkerKey, task: TaskKey, left: usize, now: Moment) {
        if let Some(line) = self.lines.get_mut(worker) {
            line.moved(now);
            line.shorten(task, left.max(1));
        }
    }

    /// `task` was taken out of the worker's line before it started.
    pub(crate) fn taken_back(&mut self, worker: WorkerKey, task: TaskKey) {
        if let Some(line) = self.lines.get_mut(worker) {
            line.remove(task);
        }
    }

    /// Of `task` only the item that runs is left in the worker's line; the others were taken back.
    pub(crate) fn shortened(&mut self, worker: WorkerKey, task: TaskKey) {
        if let Some(line) = self.lines.get_mut(worker) {
            line.begun();
            line.shorten(task, 1);
        }
    }

    /// The worker began nothing of what it was given: it gets nothing until it is seen to run.
    pub(crate) fn doubt(&mut self, worker: WorkerKey) {
        if let Some(line) = self.lines.get_mut(worker) {
            line.doubt(true);
        }
    }

    /// The worker was seen to run.
    pub(crate) fn trust(&mut self, worker: WorkerKey) {
        if let Some(line) = self.lines.get_mut(worker) {
            line.doubt(false);
        }
    }

    /// The workers that are ready and have nothing to do.
    pub(crate) fn idle(&self) -> usize {
        self.lines.iter().filter(|(_, line)| line.is_idle()).count()
    }

    /// A worker that should give back what it has not started, because it has not moved for a while: others
    /// are idle and nothing waits, or it may not run at all.
    pub(crate) fn stuck(&self, now: Moment) -> Option<WorkerKey> {
        let helpers = self.helpers();
        let stuck = |(_, line): &(usize, &Line)| {
            let patience = helpers.patience(line);
            patience.is_some_and(|patience| line.since_move(now) >= patience)
        };
        let longest = self.lines.iter().filter(stuck);
        let longest = longest.max_by_key(|(_, line)| line.backlog());
        longest.map(|(worker, _)| worker)
    }

    /// A batch that has given nothing for a while: what it has finished should not wait for the rest. Each is
    /// named once.
    pub(crate) fn slow_batch(&mut self, now: Moment) -> Option<(WorkerKey, TaskKey)> {
        let slow = |(_, line): &(usize, &mut Line)| line.since_move(now) >= SLOW;
        for (worker, line) in self.lines.iter_mut().filter(slow) {
            if let Some(task) = line.may_be_slow() {
                line.is_slow(task);
                return Some((worker, task));
            }
        }
        None
    }

    /// How long until a worker may be stuck or a batch slow, if one may be at all.
    pub(crate) fn look_again(&self, now: Moment) -> Option<Duration> {
        let helpers = self.helpers();
        let waits = self.lines.iter().filter_map(|(_, line)| {
            let stuck = helpers.patience(line);
            let slow = line.may_be_slow().map(|_| SLOW);
            let limit = stuck.into_iter().chain(slow).min()?;
            Some(limit.saturating_sub(line.since_move(now)))
        });
        waits.min()
    }

    fn helpers(&self) -> Helpers {
        let trusted = self.lines.iter().filter(|(_, line)| line.is_trusted());
        Helpers {
            idle: self.waiting() == 0 && self.idle() > 0,
            trusted: trusted.count(),
        }
    }

    fn depth(&self) -> usize {
        // No task waits behind another while the time of a task is unknown: other workers may be starting.
        match self.mean_time.tasks_in(LINE_LASTS) {
            Some(tasks) if self.mean_time.get() < Some(LONG) => {
                tasks.clamp(SHORTEST_LINE, LONGEST_LINE)
            }
            _ => 1,
        }
    }

    fn shortest_line(&self) -> Option<WorkerKey> {
        let depth = self.depth();
        let open = self.lines.iter().filter(|(_, line)| line.has_room(depth));
        let shortest = open.min_by_key(|(_, line)| line.len());
        shortest.map(|(worker, _)| worker)
    }

    fn pop_waiting(&mut self) -> Option<TaskKey> {
        for queue in self.waiting.iter_mut().rev() {
            while let Some(task) = queue.pop_front() {
                if self.withdrawn.is_empty() || !self.withdrawn.remove(&task) {
                    return Some(task);
                }
            }
        }
        None
    }
}

/// Who could take work from a line.
#[derive(Debug, Clone, Copy)]
struct Helpers {
    /// Somebody has nothing to do, and nothing waits.
    idle: bool,
    /// How many workers take tasks and run, as far as is known.
    trusted: usize,
}

impl Helpers {
    /// How long a line may stand still before others take what can be taken of it.
    fn patience(self, line: &Line) -> Option<Duration> {
        let others = self.trusted - usize::from(line.is_trusted());
        if self.idle && line.backlog() > 1 {
            Some(STUCK)
        } else if others > 0 && line.is_unbegun() {
            Some(ASLEEP)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests;
