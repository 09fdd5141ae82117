//! The core's topic: the exit of a worker, and what becomes of the tasks it had.

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;

use super::core::{Core, Effect, OnLoss, Phase};
use super::exit_stage::ExitStage;
use super::lane_fault::LaneFault;
use super::records::TaskRecord;
use super::worker_death::{DeathMeaning, WorkerDeath};
use super::worker_table::Worker;
use crate::call::LastWords;
use crate::call::job::Job;
use crate::error::{ErrorKind, JoinError};
use crate::pool::driving::findings::{FoundExit, StartProgress};
use crate::pool::monitoring::pool_event::PoolEvent;
use crate::pool::options::shared_options::SharedOptions;
use crate::schedule::{QueuedTask, TaskKey, WorkerKey};
use crate::spawn::ChildEnd;
use crate::sys::scratch;

/// What a worker is called in errors that are of no task.
const WORKER_NAME: &str = "procession::worker";

/// The key of no task.
const NO_TASK: TaskKey = 0;

/// How many workers may die before they say that they have started a task, which is then tried again.
const MOST_DEATHS: u8 = 2;

impl Core {
    /// A worker has exited, and all its replies were read. Its unstarted tasks run in other workers. The items that it
    /// ran, at most one in each lane, end with the reason of the exit.
    pub(in crate::pool) fn on_exit(&mut self, exit: &FoundExit) {
        let (worker, end) = (exit.worker, exit.end);
        let others = self.workers.lanes(worker).skip(1);
        let mut others: Vec<_> = others.filter_map(|lane| self.remove_lane(lane)).collect();
        let ran = self.running_for(worker);
        let queue = self.schedule.remove_worker(worker);
        let ran_exit = matches!(
            self.workers.get(worker).map(|it| it.exit_stage),
            Some(ExitStage::Runs { .. })
        );
        if ran_exit {
            let kind = match self.phase {
                Phase::Over => ErrorKind::Cancelled,
                _ => ErrorKind::Crashed,
            };
            self.fail_exit_function(worker, kind);
        }
        let Some(mut dead) = self.workers.remove(worker) else {
            return;
        };
        dead.stderr.clone_from(&exit.stderr);
        mark_over_memory(&mut dead, &mut others, end);
        self.count_exited_time(&dead, ran);
        self.check_missing = true;
        self.unpin_all(&dead);
        if dead.life.io().is_some_and(|io| io.requests.has_scratch()) {
            let path = scratch::path(self.settings.id, dead.serial);
            self.effects.push(Effect::RemoveScratch(path));
        }
        self.promote_successor(dead.number);
        // It died of itself, when it looked for its next task or ran it.
        let was_running = exit.progress == StartProgress::Done;
        let lanes = || std::iter::once((&dead, &queue)).chain(others.iter().map(|(a, b)| (a, b)));
        let is_unwanted = |it: &Worker| !it.is_alive() && !it.unresponsive && it.nonsense.is_none();
        // Of several tasks, a task that has started is the cause.
        let ran_any = |(lane, queue): (&Worker, &VecDeque<QueuedTask>)| {
            let front = queue.front().and_then(|it| self.records.get(it.task));
            claimed(lane, front) > front.and_then(TaskRecord::received)
        };
        if was_running && !lanes().all(|(it, _)| is_unwanted(it)) && !lanes().any(ran_any) {
            for (lane, queue) in lanes() {
                self.blame(lane, queue.front(), end.status);
            }
        }
        let had_tasks = lanes().any(|(_, queue)| !queue.is_empty());
        let mut started = dead.proven || was_running;
        for (lane, queue) in lanes() {
            started |= self.settle_queue(lane, queue, end);
        }
        let cause = self.cause_of_exit(&dead, exit, started);
        let had_work = had_tasks || ran_exit;
        self.count_death(&dead, exit, started, had_work, &cause);
        let is_needed = self.phase == Phase::Open || !self.records.is_empty();
        if self.settings.on_loss == OnLoss::End && is_needed {
            self.end_because(&cause);
        }
        self.tell(|| PoolEvent::WorkerExited { cause });
    }

    /// A lane beside the first is gone with its worker. Returns it, and what it had.
    fn remove_lane(&mut self, lane: WorkerKey) -> Option<(Worker, VecDeque<QueuedTask>)> {
        let ran = self.running_for(lane);
        let queue = self.schedule.remove_worker(lane);
        let dead = self.workers.remove(lane)?;
        self.count_exited_time(&dead, ran);
        self.unpin_all(&dead);
        Some((dead, queue))
    }

    /// Requeues or ends what a dead lane had. True if it had started something.
    fn settle_queue(&mut self, dead: &Worker, queue: &VecDeque<QueuedTask>, end: ChildEnd) -> bool {
        let mut started = false;
        // From the last to the first, each before all others: so they wait in their old order.
        for (ahead, queued) in queue.iter().enumerate().rev() {
            // The first task has no last reply, so the worker has not started the others, whatever the memory says.
            let is_first = ahead == 0;
            started |= self.settle_task(dead, queued.task, is_first, end);
        }
        started
    }

    /// Counts an exit that was not wanted: as a failed start, or as the death of an idle worker.
    fn count_death(
        &mut self,
        dead: &Worker,
        exit: &FoundExit,
        started: bool,
        had_work: bool,
        cause: &JoinError,
    ) {
        if !dead.is_alive() {
            return;
        }
        let death = WorkerDeath {
            started,
            had_work,
            // By a person, a test, or the kernel for want of memory.
            was_killed: cause.signal() == Some(libc::SIGKILL),
            in_initializer: matches!(exit.progress, StartProgress::Initializer(_)),
        };
        match death.meaning() {
            DeathMeaning::FailedStart(how) => self.count_failed_start(how, dead.since, cause),
            DeathMeaning::DiesIdle => self.count_idle_death(cause),
            DeathMeaning::None => {}
        }
    }

    /// Why a worker has exited, busy or not.
    fn cause_of_exit(&self, dead: &Worker, exit: &FoundExit, started: bool) -> JoinError {
        if !started && dead.is_alive() {
            return failed_start(dead, exit);
        }
        if let Some(failure) = &dead.setup_failure {
            return failure.clone();
        }
        let task = dead.life.kill_reason().map_or(NO_TASK, |kill| kill.task);
        let error = self.cause_of(dead, task, WORKER_NAME, exit.end);
        match error.exit_code() {
            Some(0) if !dead.is_alive() => error.because("it has left in an orderly way"),
            _ => error,
        }
    }

    /// A worker has died of itself before it said that it had started the task at the `front`. The task may have been
    /// the cause, and may have overwritten the word that says so. It is tried again, but not for ever. Of a batch the
    /// first item is meant: the others were not next.
    fn blame(&mut self, dead: &Worker, front: Option<&QueuedTask>, status: Option<ExitStatus>) {
        let Some(key) = front.map(|queued| queued.task) else {
            return;
        };
        if claimed(dead, self.records.get(key)) != Some(0) {
            return;
        }
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        record.deaths += 1;
        if record.deaths <= MOST_DEATHS || record.cancelled {
            return;
        }
        // It may have hidden its starts, so each counts as a try.
        if record.options.retries > 0 {
            record.options.retries -= 1;
            self.counts.retried += 1;
            return;
        }
        if let Some(mut record) = self.records.remove(key) {
            if record.job.items() > 1 {
                let encoded = record.split_encoded(1);
                let options = record.call_options();
                self.enqueue_front(record.job.split(1), encoded, options);
            }
            let why = "several workers in a row have ended when this was their next task";
            let error = JoinError::new(ErrorKind::Crashed, record.job.name())
                .because(why)
                .after_start(true);
            self.fail(&record.job, 0, 1, with_exit(error, dead, status));
            self.discard(record);
        }
    }

    /// Requeues or ends a task of a dead worker. True if the worker had started it.
    fn settle_task(&mut self, dead: &Worker, key: TaskKey, is_first: bool, end: ChildEnd) -> bool {
        let record = self.records.get(key);
        let received = record.and_then(TaskRecord::received);
        let Some((claimed, received)) = claimed(dead, record).zip(received) else {
            return false;
        };
        if claimed == 0 || !is_first {
            self.requeue(key);
            return false;
        }
        let only = record
            .filter(|it| it.job.items() == 1)
            .map(|it| it.job.name());
        if let Some(name) = only.filter(|_| claimed > received) {
            let error = self.cause_of(dead, key, name, end);
            self.end_or_rerun(key, error);
            return true;
        }
        let Some(mut record) = self.records.remove(key) else {
            return false;
        };
        if claimed < record.job.items() {
            let encoded = record.split_encoded(claimed);
            let options = record.call_options();
            self.enqueue_front(record.job.split(claimed), encoded, options);
        }
        if claimed > received {
            let error = self.cause_of(dead, key, record.job.name(), end);
            let crashed = matches!(error.kind(), ErrorKind::Crashed | ErrorKind::Exited);
            let wanted = !record.cancelled && self.phase != Phase::Over;
            if crashed && wanted && record.options.retries > 0 {
                self.retry(&record.job, received, record.call_options());
            } else {
                self.fail(&record.job, received, claimed - received, error);
            }
        }
        self.discard(record);
        true
    }

    /// Runs the item at `index` of a job with several items again.
    fn retry(&mut self, job: &Arc<dyn Job>, index: usize, mut options: SharedOptions) {
        options.retries -= 1;
        options.tried = true;
        options.start_by = None;
        self.counts.retried += 1;
        let item = match index {
            0 => Arc::clone(job),
            _ => job.split(index),
        };
        self.try_again(item, options);
    }

    /// Why the worker exited while it ran a task.
    fn cause_of(
        &self,
        dead: &Worker,
        key: TaskKey,
        name: &'static str,
        end: ChildEnd,
    ) -> JoinError {
        let words = last_words(dead, end);
        let code = end.status.and_then(|status| status.code());
        let kind = match (dead.life.kill_reason(), code) {
            (Some(kill), _) if kill.task == key => kill.kind,
            _ if self.phase == Phase::Over => ErrorKind::Cancelled,
            _ if dead.nonsense.is_some() => ErrorKind::Crashed,
            _ if self.is_out_of_cpu_time(end.status) => ErrorKind::TimedOut,
            (_, Some(_)) => ErrorKind::Exited,
            (_, None) => words.kind(),
        };
        let error = JoinError::new(kind, name).after_start(true);
        let error = match (kind, dead.nonsense) {
            (ErrorKind::Crashed, Some(nonsense)) => {
                words.explain(error).because(nonsense.explain())
            }
            (ErrorKind::TimedOut, _) if self.is_out_of_cpu_time(end.status) => {
                error.because("it has used all the processor time that the pool allows a task")
            }
            _ => words.explain(error),
        };
        let error = match dead.lane_fault.filter(|_| kind == ErrorKind::Crashed) {
            Some(fault) => error.because(fault.reason()),
            None => error,
        };
        with_exit(error, dead, end.status)
    }

    /// Whether a worker has ended because its task has used too much processor time.
    fn is_out_of_cpu_time(&self, status: Option<ExitStatus>) -> bool {
        let is_limited = self.settings.surroundings.cpu_time.is_some();
        is_limited && status.is_some_and(|status| status.signal() == Some(libc::SIGXCPU))
    }
}

/// If the task of one lane has gone over the memory limit, the others know.
fn mark_over_memory(
    first: &mut Worker,
    others: &mut [(Worker, VecDeque<QueuedTask>)],
    end: ChildEnd,
) {
    let is_over = |it: &Worker| last_words(it, end).kind() == ErrorKind::MemoryExceeded;
    if !others.is_empty() && (is_over(first) || others.iter().any(|(it, _)| is_over(it))) {
        let lanes = others.iter_mut().map(|(it, _)| it);
        for lane in lanes.chain(std::iter::once(first)) {
            lane.lane_fault = Some(LaneFault::OverMemory);
        }
    }
}

/// How many items of a task in its ring a dead worker had claimed. `None` if the task is not in a ring.
fn claimed(dead: &Worker, record: Option<&TaskRecord>) -> Option<usize> {
    let record = record?;
    let position = record.position()?;
    let io = dead.life.io();
    let claimed = io.map_or(0, |io| io.requests.claimed(position));
    Some(claimed.min(record.job.items()))
}

/// Why a worker that never ran a task exited.
fn failed_start(dead: &Worker, exit: &FoundExit) -> JoinError {
    let why = match &exit.progress {
        StartProgress::Initializer(init) => format!("{init} ended the worker"),
        _ => "the worker ended before it was ready for its first task".to_owned(),
    };
    let error = JoinError::new(ErrorKind::Spawn, WORKER_NAME).because(why);
    with_exit(
        last_words(dead, exit.end).explain(error),
        dead,
        exit.end.status,
    )
}

fn last_words(dead: &Worker, end: ChildEnd) -> LastWords {
    let io = dead.life.io();
    io.map(|io| io.requests.last_words(end.status, end.cause))
        .unwrap_or_default()
        .after_writing(&dead.stderr)
}

/// Adds what is known about the exit.
fn with_exit(mut error: JoinError, dead: &Worker, status: Option<ExitStatus>) -> JoinError {
    if let Some(pid) = dead.pid() {
        error = error.in_process(pid);
    }
    match status {
        Some(status) => error.with_status(status),
        None => error,
    }
}
