//! What a test expects of an error, and the checks that hold for every error.

use procession::{ErrorKind, JoinError};

/// The expected properties of an error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    kind: ErrorKind,
    started: bool,
    has_pid: bool,
    /// One of these, or none if it is empty.
    signals: &'static [i32],
    exit_code: Option<i32>,
}

/// An error of this kind of a function that was started, in a process that ended without a signal or status.
pub(crate) const fn expect(kind: ErrorKind) -> Expected {
    Expected {
        kind,
        started: true,
        has_pid: true,
        signals: &[],
        exit_code: None,
    }
}

impl Expected {
    pub(crate) const fn never_started(self) -> Self {
        Self {
            started: false,
            ..self
        }
    }

    pub(crate) const fn without_process(self) -> Self {
        Self {
            has_pid: false,
            ..self.never_started()
        }
    }

    pub(crate) const fn by_signal(self, signals: &'static [i32]) -> Self {
        Self { signals, ..self }
    }

    pub(crate) const fn with_code(self, code: i32) -> Self {
        Self {
            exit_code: Some(code),
            ..self
        }
    }

    /// Asserts that `error`, of `task` in the process `pid`, is as expected.
    #[track_caller]
    pub(crate) fn check(&self, error: &JoinError, task: &str, pid: Option<u32>) {
        let message = error.to_string();
        assert_eq!(error.kind(), self.kind, "{error:?}");
        assert_eq!(true_predicates(error), [self.kind], "{error:?}");
        assert_eq!(error.started(), self.started, "{error:?}");
        assert_eq!(error.exit_code(), self.exit_code, "{error:?}");
        assert_eq!(error.task(), task, "{error:?}");
        assert!(!message.contains('\n'), "{message}");
        assert!(message.contains(task), "{message}");
        assert!(
            !message.ends_with(' ') && !message.contains("  "),
            "{message}"
        );
        match error.signal() {
            None => assert!(self.signals.is_empty(), "{error:?}"),
            Some(signal) => {
                assert!(self.signals.contains(&signal), "{error:?}");
                assert!(message.contains(name_of(signal)), "{message}");
            }
        }
        if self.has_pid {
            assert_eq!(error.pid(), pid, "{error:?}");
            let pid = pid.map(|pid| format!("pid {pid}"));
            assert!(pid.is_some_and(|pid| message.contains(&pid)), "{message}");
        } else {
            assert_eq!(error.pid(), None, "{error:?}");
        }
        if let Some(code) = self.exit_code {
            assert!(message.contains(&format!("status {code}")), "{message}");
        }
        assert_eq!(error.panic().is_some(), self.kind == ErrorKind::Panicked);
        if let Some(report) = error.panic() {
            assert!(message.contains(report.location()), "{message}");
        }
    }
}

/// The kinds whose predicate (`is_panic` and so on) holds.
fn true_predicates(error: &JoinError) -> Vec<ErrorKind> {
    [
        (error.is_panic(), ErrorKind::Panicked),
        (error.is_crashed(), ErrorKind::Crashed),
        (error.is_exited(), ErrorKind::Exited),
        (error.is_timed_out(), ErrorKind::TimedOut),
        (error.is_cancelled(), ErrorKind::Cancelled),
        (error.is_memory_exceeded(), ErrorKind::MemoryExceeded),
        (error.is_encode(), ErrorKind::Encode),
        (error.is_decode(), ErrorKind::Decode),
        (error.is_spawn(), ErrorKind::Spawn),
        (error.is_closed(), ErrorKind::Closed),
    ]
    .into_iter()
    .filter_map(|(holds, kind)| holds.then_some(kind))
    .collect()
}

fn name_of(signal: i32) -> &'static str {
    match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGTERM => "SIGTERM",
        _ => unreachable!("no test ends a process by signal {signal}"),
    }
}
