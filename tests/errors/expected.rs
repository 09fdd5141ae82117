//! What an error is expected to say.

use procession::{ErrorKind, JoinError};

/// What an error is expected to say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) kind: ErrorKind,
    pub(crate) started: bool,
    pub(crate) ran_somewhere: bool,
    pub(crate) signals: &'static [i32],
    pub(crate) exit_code: Option<i32>,
}

pub(crate) const fn expect(kind: ErrorKind) -> Expected {
    Expected {
        kind,
        started: true,
        ran_somewhere: true,
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

    pub(crate) const fn nowhere(self) -> Self {
        Self {
            ran_somewhere: false,
            ..self.never_started()
        }
    }

    pub(crate) const fn by(self, signals: &'static [i32]) -> Self {
        Self { signals, ..self }
    }

    pub(crate) const fn with_code(self, code: i32) -> Self {
        Self {
            exit_code: Some(code),
            ..self
        }
    }

    #[track_caller]
    pub(crate) fn check(&self, error: &JoinError, task: &str, pid: Option<u32>) {
        let said = error.to_string();
        assert_eq!(error.kind(), self.kind, "{error:?}");
        assert_eq!(true_predicates(error), [self.kind], "{error:?}");
        assert_eq!(error.started(), self.started, "{error:?}");
        assert_eq!(error.exit_code(), self.exit_code, "{error:?}");
        assert_eq!(error.task(), task, "{error:?}");
        assert!(!said.contains('\n'), "{said}");
        assert!(said.contains(task), "{said}");
        assert!(!said.ends_with(' ') && !said.contains("  "), "{said}");
        match error.signal() {
            None => assert!(self.signals.is_empty(), "{error:?}"),
            Some(signal) => {
                assert!(self.signals.contains(&signal), "{error:?}");
                assert!(said.contains(name_of(signal)), "{said}");
            }
        }
        if self.ran_somewhere {
            assert_eq!(error.pid(), pid, "{error:?}");
            let pid = pid.map(|pid| format!("pid {pid}"));
            assert!(pid.is_some_and(|pid| said.contains(&pid)), "{said}");
        } else {
            assert_eq!(error.pid(), None, "{error:?}");
        }
        if let Some(code) = self.exit_code {
            assert!(said.contains(&format!("status {code}")), "{said}");
        }
        assert_eq!(error.panic().is_some(), self.kind == ErrorKind::Panicked);
        if let Some(report) = error.panic() {
            assert!(said.contains(report.location()), "{said}");
        }
    }
}

/// The predicates that hold, by the kind they ask for.
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
