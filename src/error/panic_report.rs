//! The report of a panic in a child.
//!
//! Made in the child that panicked, and sent to the parent.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::reason::one_line;

/// A panic in a child process: its message, its location and, if enabled, its backtrace.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PanicReport {
    pub(crate) message: String,
    pub(crate) location: String,
    pub(crate) backtrace: Option<String>,
}

impl PanicReport {
    /// The message of the panic, or a note that its payload was not text.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The location of the panic, as `file:line:column`.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// The backtrace, if the child's environment enables it (`RUST_BACKTRACE`, `RUST_LIB_BACKTRACE`).
    pub fn backtrace(&self) -> Option<&str> {
        self.backtrace.as_deref()
    }
}

/// One line, as part of a sentence: `at src/a.rs:10:5: the message`.
impl fmt::Display for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}: {}", self.location, one_line(&self.message))
    }
}

impl std::error::Error for PanicReport {}

impl fmt::Debug for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the backtrace: it is pages long, and every `unwrap` of the error would print it.
        f.debug_struct("PanicReport")
            .field("message", &self.message)
            .field("location", &self.location)
            .field("has_backtrace", &self.backtrace.is_some())
            .finish()
    }
}
