//! The report of a crash of a child.
//!
//! Lives in the parent. Its facts were left by the child, which may have overwritten them: they are for people to read.

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::symbols;
use crate::sys::crash_note::CrashNote;

/// A crash of a process: by `SIGSEGV`, `SIGBUS`, `SIGILL`, `SIGFPE`, `SIGABRT`, `SIGSYS`, or an overflow of the stack.
///
/// The process writes the facts itself before it ends, from a handler of the signal. If a task has set a handler of its
/// own, or has destroyed too much, there are none: [`address`](Self::address) and [`backtrace`](Self::backtrace) are
/// `None`. A process that ran hostile code may have left anything. The facts are bounded, but need not be true.
///
/// `Display` writes the facts and the backtrace, in several lines.
#[derive(Clone)]
pub struct CrashReport(Arc<Crash>);

struct Crash {
    facts: CrashFacts,
    backtrace: OnceLock<Option<String>>,
}

/// What a report is made of.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct CrashFacts {
    pub(crate) note: CrashNote,
    pub(crate) stderr: String,
}

impl CrashReport {
    /// The address that could not be accessed, or the instruction that could not be executed.
    ///
    /// `None` for signals without an address: an abort, a refused system call, a signal that a process has sent.
    pub fn address(&self) -> Option<u64> {
        self.0.facts.note.address
    }

    /// Whether the stack of a thread was full, as after a recursion without end.
    ///
    /// It is found on the thread that runs the task, and on threads that `std` has started.
    pub fn is_stack_overflow(&self) -> bool {
        self.0.facts.note.is_stack_overflow
    }

    /// The calls of the thread that crashed, the last first: `function at file:line`, one in a line. At most 128 calls.
    ///
    /// Files and lines are known if the program was compiled with debug information. Functions of a library that this
    /// process has not loaded are given by their address in it.
    ///
    /// The first call of this function looks all names up, in this process: it reads the debug information of the
    /// program. That takes 10 milliseconds or more for a large program, and a second where this crate is not optimised.
    /// What was read is kept for the next crash. Call it where a thread may block (`tokio::task::spawn_blocking`).
    /// Clones share the result.
    pub fn backtrace(&self) -> Option<&str> {
        let backtrace = &self.0.backtrace;
        let found = backtrace.get_or_init(|| symbols::backtrace(&self.0.facts.note));
        found.as_deref()
    }

    /// The last 4 KiB that the process has written to its stderr, if they were captured
    /// ([`Output::Captured`](crate::Output::Captured)); else empty. Bytes that are no text are replaced.
    pub fn stderr(&self) -> &str {
        &self.0.facts.stderr
    }

    pub(crate) fn new(facts: CrashFacts) -> Self {
        Self(Arc::new(Crash {
            facts,
            backtrace: OnceLock::new(),
        }))
    }

    pub(crate) fn with_stderr(self, stderr: &str) -> Self {
        if stderr.is_empty() {
            return self;
        }
        Self::new(CrashFacts {
            note: self.0.facts.note.clone(),
            stderr: stderr.to_owned(),
        })
    }

    pub(super) fn facts(&self) -> &CrashFacts {
        &self.0.facts
    }
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_stack_overflow() {
            true => f.write_str("stack overflow")?,
            false => f.write_str("crash")?,
        }
        if let Some(address) = self.address() {
            write!(f, " at address {address:#x}")?;
        }
        if let Some(backtrace) = self.backtrace() {
            write!(f, "\n{}", backtrace.trim_end())?;
        }
        if !self.stderr().is_empty() {
            write!(f, "\nstderr:\n{}", self.stderr().trim_end())?;
        }
        Ok(())
    }
}

impl fmt::Debug for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the backtrace and stderr, which are pages long: every `unwrap` of the error would print them.
        f.debug_struct("CrashReport")
            .field("address", &self.address())
            .field("is_stack_overflow", &self.is_stack_overflow())
            .finish_non_exhaustive()
    }
}
