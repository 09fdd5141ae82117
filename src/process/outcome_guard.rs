//! Guarantees that a process's job gets an outcome and its handles learn of its end.
//!
//! Lives in the parent, in the supervisor's task. Must stay true: a guard that is dropped, because the runtime shuts
//! down and drops its tasks, reports the shutdown, unless an outcome was reported before.

use std::process::ExitStatus;
use std::sync::Arc;

use super::state::ProcessState;
use crate::call::job::Job;
use crate::error::{ErrorKind, JoinError};

#[derive(Debug)]
pub(super) struct OutcomeGuard {
    job: Arc<dyn Job>,
    state: Arc<ProcessState>,
    /// Whether the function may have run, for the error of a shutdown.
    may_have_run: bool,
}

impl OutcomeGuard {
    pub(super) fn new(job: Arc<dyn Job>, state: Arc<ProcessState>) -> Self {
        Self {
            job,
            state,
            may_have_run: false,
        }
    }

    pub(super) fn job(&self) -> &Arc<dyn Job> {
        &self.job
    }

    pub(super) fn state(&self) -> &ProcessState {
        &self.state
    }

    /// From here on the function may run.
    pub(super) fn starting(&mut self) {
        self.may_have_run = true;
    }

    /// Reports that the function never ran.
    pub(super) fn never_ran(self, kind: ErrorKind, why: &str) {
        let error = JoinError::new(kind, self.job.name()).because(why);
        self.state.report_end(Err(why.into()));
        self.fail(&error);
    }

    /// Reports that the process was killed after its function had started, because its end could not be watched.
    pub(super) fn ended_unwatched(self, pid: u32, why: &str) {
        let error = JoinError::new(ErrorKind::Crashed, self.job.name());
        let error = error.in_process(pid).after_start(true).because(why);
        self.state.report_end(Err(why.into()));
        self.fail(&error);
    }

    /// Reports the end of the process, before its outcome: a caller who has the outcome finds the process ended.
    pub(super) fn process_ended(&self, status: Option<ExitStatus>) {
        self.state.report_end(match status {
            Some(status) => Ok(status),
            None => Err("other code in this program took its exit status".into()),
        });
    }

    /// Gives the job an error for its outcome.
    pub(super) fn fail(&self, error: &JoinError) {
        self.job.fail(0, 1, error);
    }
}

impl Drop for OutcomeGuard {
    fn drop(&mut self) {
        let why = "the runtime that supervised it was shut down";
        let error = JoinError::new(ErrorKind::Closed, self.job.name()).because(why);
        self.fail(&error.after_start(self.may_have_run));
        self.state.report_end(Err(why.into()));
    }
}
