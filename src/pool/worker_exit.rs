//! What a worker leaves behind.

use std::process::ExitStatus;
use std::sync::Arc;

use super::core::{Core, Phase};
use super::records::Place;
use super::worker_state::Worker;
use crate::call::RequestWriter;
use crate::error::{ErrorKind, JoinError};
use crate::schedule::{TaskKey, WorkerKey};

impl Core {
    /// A worker has ended, and all its replies were read. What it had not started runs elsewhere; what
    /// it was running, at most one call, ends with the reason.
    pub(super) fn buried(&mut self, worker: WorkerKey, status: Option<ExitStatus>) {
        let line = self.schedule.remove_worker(worker);
        let Some(mut dead) = self.workers.get_mut(worker).and_then(Option::take) else {
            return;
        };
        // From the last to the first, each before all others: so they wait in their old order.
        let mut began = dead.proven;
        for entry in line.into_iter().rev() {
            began |= self.inherit(&mut dead, entry.task, status);
        }
        if !began && !dead.stopping {
            let cause = start_failure(&dead, status);
            self.start_failed(&cause);
        }
    }

    /// What becomes of one task in its line. True if the worker had begun it.
    fn inherit(&mut self, dead: &mut Worker, key: TaskKey, status: Option<ExitStatus>) -> bool {
        let Some(record) = self.records.get_mut(key) else {
            return false;
        };
        let Place::Sent {
            position, received, ..
        } = record.place
        else {
            return false;
        };
        let claimed = match &mut dead.requests {
            Some(requests) => requests.claimed(position).min(record.job.items()),
            None => 0,
        };
        if claimed == 0 {
            self.requeue(key);
            return false;
        }
        let Some(record) = self.records.remove(key) else {
            return false;
        };
        let options = record.options;
        if claimed < record.job.items() {
            let tail = record.job.split(claimed);
            let rest = self.records.insert(tail, options, self.now);
            self.schedule.submit_again(rest, options.priority);
        }
        if claimed > received {
            let error = self.cause_of(dead, key, record.job.name(), status);
            let again = matches!(error.kind(), ErrorKind::Crashed | ErrorKind::Exited)
                && options.retries > 0
                && !record.cancelled
                && self.phase != Phase::Over;
            if again {
                self.retry(&record.job, received, options);
            } else {
                self.end(&record.job, received, claimed - received, error);
            }
        }
        self.discard(record);
        true
    }

    /// Runs the item at `index` of a job once more.
    fn retry(
        &mut self,
        job: &Arc<dyn crate::call::job::Job>,
        index: usize,
        mut options: super::call_options::CallOptions,
    ) {
        options.retries -= 1;
        self.counts.retried += 1;
        let item = match index {
            0 => Arc::clone(job),
            _ => job.split(index),
        };
        let key = self.records.insert(item, options, self.now);
        self.schedule.submit_again(key, options.priority);
    }

    fn cause_of(
        &self,
        dead: &Worker,
        key: TaskKey,
        name: &'static str,
        status: Option<ExitStatus>,
    ) -> JoinError {
        let requests = dead.requests.as_ref();
        let wanted_memory = requests.is_some_and(RequestWriter::wanted_memory);
        let kind = match (dead.doom, status.and_then(|status| status.code())) {
            (Some(doom), _) if doom.task == key => doom.kind,
            _ if self.phase == Phase::Over => ErrorKind::Cancelled,
            (_, Some(_)) => ErrorKind::Exited,
            (_, None) if wanted_memory => ErrorKind::MemoryExceeded,
            (_, None) => ErrorKind::Crashed,
        };
        let mut error = JoinError::new(kind, name).after_start(true);
        if let Some(pid) = dead.pid() {
            error = error.in_process(pid);
        }
        match status {
            Some(status) => error.with_status(status),
            None => error,
        }
    }
}

fn start_failure(dead: &Worker, status: Option<ExitStatus>) -> JoinError {
    let task = match &dead.preparation {
        Some(preparation) => preparation.name(),
        None => "procession::worker",
    };
    let mut error = JoinError::new(ErrorKind::Spawn, task)
        .because("the worker ended before it was ready for its first task");
    if let Some(pid) = dead.pid() {
        error = error.in_process(pid);
    }
    match status {
        Some(status) => error.with_status(status),
        None => error,
    }
}
