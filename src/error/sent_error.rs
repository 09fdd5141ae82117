//! An error on the way to another process, which knows the name of the task itself.

use serde::{Deserialize, Serialize};

use super::crash_report::{CrashFacts, CrashReport};
use super::join::{ErrorKind, JoinError};
use super::panic_report::PanicReport;
use super::reason::Reason;

/// All of a [`JoinError`] but the name of its task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SentError {
    kind: ErrorKind,
    item: Option<usize>,
    started: bool,
    pid: Option<u32>,
    signal: Option<i32>,
    exit_code: Option<i32>,
    panic: Option<PanicReport>,
    crash: Option<CrashFacts>,
    reason: Option<Reason>,
}

impl From<JoinError> for SentError {
    fn from(error: JoinError) -> Self {
        let details = *error.0;
        Self {
            kind: details.kind,
            item: details.item,
            started: details.started,
            pid: details.pid,
            signal: details.signal,
            exit_code: details.exit_code,
            panic: details.panic,
            crash: details.crash.map(|it| it.facts().clone()),
            reason: details.reason,
        }
    }
}

impl SentError {
    /// The error again, of `task`.
    pub(crate) fn of(self, task: &'static str) -> JoinError {
        let mut error = JoinError::new(self.kind, task);
        error.0.item = self.item;
        error.0.started = self.started;
        error.0.pid = self.pid;
        error.0.signal = self.signal;
        error.0.exit_code = self.exit_code;
        error.0.panic = self.panic;
        error.0.crash = self.crash.map(CrashReport::new);
        error.0.reason = self.reason;
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_that_was_sent_says_the_same() {
        let error = JoinError::new(ErrorKind::Crashed, "app::parse")
            .because("a reason")
            .in_process(42)
            .of_item(Some(7))
            .after_start(true);
        let sent = SentError::from(error.clone()).of("app::parse");
        assert_eq!(format!("{sent:?}"), format!("{error:?}"));
    }
}
