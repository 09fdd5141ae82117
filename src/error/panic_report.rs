//! What a panic in another process said.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A panic in a child process: its message, where it happened and, if asked for, how it got there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PanicReport {
    pub(crate) message: String,
    pub(crate) location: String,
    pub(crate) backtrace: Option<String>,
}

impl PanicReport {
    /// The panic's message, or a remark that its payload was not text.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where it panicked, as `file:line:column`.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// The backtrace, if the environment asks for one (`RUST_BACKTRACE`, `RUST_LIB_BACKTRACE`).
    pub fn backtrace(&self) -> Option<&str> {
        self.backtrace.as_deref()
    }
}

impl fmt::Debug for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A backtrace is pages long, and every `unwrap` of the error would print it.
        f.debug_struct("PanicReport")
            .field("message", &self.message)
            .field("location", &self.location)
            .field("has_backtrace", &self.backtrace.is_some())
            .finish()
    }
}
