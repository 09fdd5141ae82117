//! What a child has left about its end, if a signal has ended it.
//!
//! Runs in the parent, once the child has ended. Must stay true: a report is used only if the child has aborted itself,
//! because a panic that aborts leaves one before that.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use crate::error::{ErrorKind, JoinError, PanicReport};
use crate::sys::exit_cause::ExitCause;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct LastWords {
    cause: Option<ExitCause>,
    panic: Option<PanicReport>,
}

impl LastWords {
    /// Of a child that ended with `status`, because of `cause` as far as that is known, and has left a `panic`.
    pub(super) fn new(
        status: Option<ExitStatus>,
        cause: Option<ExitCause>,
        panic: Option<PanicReport>,
    ) -> Self {
        let aborted = status.is_some_and(|status| status.signal() == Some(libc::SIGABRT));
        Self {
            cause,
            panic: panic.filter(|_| aborted),
        }
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
        match (error.kind(), self.panic) {
            (ErrorKind::Panicked | ErrorKind::Spawn, Some(panic)) => error.with_panic(panic),
            (ErrorKind::Crashed | ErrorKind::Spawn, _) => error.with_cause(self.cause),
            _ => error,
        }
    }
}
