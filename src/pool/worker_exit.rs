//! The core's topic: the exit of a worker, and what becomes of the tasks it had.

use std::process::ExitStatus;
use std::sync::Arc;

use super::call_options::CallOptions;
use super::core::{Core, Phase};
use super::findings::FoundExit;
use super::records::Place;
use super::worker_table::Worker;
use crate::call::LastWords;
use crate::call::job::Job;
use crate::error::{ErrorKind, JoinError};
use crate::schedule::TaskKey;
use crate::spawn::ChildEnd;

impl Core {
    /// A worker has exited, and all its replies were read. Its unstarted tasks run in other workers. The item that it
    /// ran, at most one, ends with the reason of the exit.
    pub(super) fn on_exit(&mut self, exit: &FoundExit) {
        let (worker, end) = (exit.worker, exit.end);
        let queue = self.schedule.remove_worker(worker);
        let Some(dead) = self.workers.remove(worker) else {
            return;
        };
        self.check_missing = true;
        // From the last to the first, each before all others: so they wait in their old order.
        let mut started = dead.proven;
        for queued in queue.into_iter().rev() {
            started |= self.settle_task(&dead, queued.task, end);
        }
        if !started && dead.is_alive() {
            let cause = failed_start(&dead, exit);
            self.count_failed_start(dead.since, &cause);
        }
    }

    /// Requeues or ends a task of a dead worker. True if the worker had started it.
    fn settle_task(&mut self, dead: &Worker, key: TaskKey, end: ChildEnd) -> bool {
        let Some(record) = self.records.get(key) else {
            return false;
        };
        let Place::Sent {
            position, received, ..
        } = record.place
        else {
            return false;
        };
        let io = dead.life.io();
        let claimed = io.map_or(0, |io| io.requests.claimed(position));
        let claimed = claimed.min(record.job.items());
        if claimed == 0 {
            self.requeue(key);
            return false;
        }
        let Some(mut record) = self.records.remove(key) else {
            return false;
        };
        if claimed < record.job.items() {
            let encoded = record.split_encoded(claimed);
            self.enqueue_front(record.job.split(claimed), encoded, record.options);
        }
        if claimed > received {
            let error = self.cause_of(dead, key, record.job.name(), end);
            let crashed = matches!(error.kind(), ErrorKind::Crashed | ErrorKind::Exited);
            let wanted = !record.cancelled && self.phase != Phase::Over;
            if crashed && wanted && record.options.retries > 0 {
                self.retry(&record.job, received, record.options);
            } else {
                self.fail(&record.job, received, claimed - received, error);
            }
        }
        self.discard(record);
        true
    }

    /// Runs the item at `index` of a job once more.
    fn retry(&mut self, job: &Arc<dyn Job>, index: usize, mut options: CallOptions) {
        options.retries -= 1;
        self.counts.retried += 1;
        let item = match index {
            0 => Arc::clone(job),
            _ => job.split(index),
        };
        self.enqueue_front(item, None, options);
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
            (_, Some(_)) => ErrorKind::Exited,
            (_, None) => words.kind(),
        };
        let error = JoinError::new(kind, name).after_start(true);
        with_exit(words.explain(error), dead, end.status)
    }
}

/// Why a worker that never ran a task exited.
fn failed_start(dead: &Worker, exit: &FoundExit) -> JoinError {
    let why = match &exit.init {
        Some(init) => format!("{init} ended the worker"),
        None => "the worker ended before it was ready for its first task".to_owned(),
    };
    let error = JoinError::new(ErrorKind::Spawn, "procession::worker").because(why);
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
