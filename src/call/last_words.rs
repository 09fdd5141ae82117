//! What a child has left about its end, if a signal has ended it.
//!
//! Runs in the parent, once the child has ended. Must stay true: a report is used only if the child has aborted itself,
//! because a panic that aborts leaves one before that.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use crate::error::{CrashFacts, CrashReport, ErrorKind, JoinError, PanicReport};
use crate::sys::crash_handler::CRASH_SIGNALS;
use crate::sys::crash_note::CrashNote;
use crate::sys::exit_cause::ExitCause;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct LastWords {
    cause: Option<ExitCause>,
    panic: Option<PanicReport>,
    crash: Option<CrashReport>,
}

impl LastWords {
    /// Of a child that ended with `status`, because of `cause` as far as that is known, and has left a `panic`.
    pub(super) fn new(
        status: Option<ExitStatus>,
        cause: Option<ExitCause>,
        panic: Option<PanicReport>,
        note: impl FnOnce() -> Option<CrashNote>,
    ) -> Self {
        let signal = status.and_then(|status| status.signal());
        // A process that has crashed without a note has a report, too: an empty one.
        let crashed = signal.is_some_and(|signal| CRASH_SIGNALS.contains(&signal));
        let facts = crashed.then(|| CrashFacts {
            note: note().unwrap_or_default(),
            stderr: String::new(),
        });
        Self {
            cause,
            panic: panic.filter(|_| signal == Some(libc::SIGABRT)),
            crash: facts.map(CrashReport::new),
        }
    }

    /// The child has written this to its stderr at last.
    pub(crate) fn after_writing(mut self, stderr: &str) -> Self {
        self.crash = self.crash.map(|crash| crash.with_stderr(stderr));
        self
    }

    /// What went wrong with a task that was running.
    pub(crate) fn kind(&self) -> ErrorKind {
        match (self.cause, &self.panic) {
            (Some(ExitCause::OutOfMemory), _) => ErrorKind::MemoryExceeded,
            (_, Some(_)) => ErrorKind::Panicked,
            _ => ErrorKind::Crashed,
        }
    }

    /// Adds them to an error that says of no other reason.
    pub(crate) fn explain(self, error: JoinError) -> JoinError {
        let error = match error.kind() {
            ErrorKind::Cancelled | ErrorKind::TimedOut => error,
            _ => error.with_crash(self.crash),
        };
        match (error.kind(), self.panic) {
            (ErrorKind::Panicked | ErrorKind::Spawn, Some(panic)) => error.with_panic(panic),
            (ErrorKind::Crashed | ErrorKind::Spawn, _) => error.with_cause(self.cause),
            _ => error,
        }
    }
}
