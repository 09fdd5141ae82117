//! The error of every awaited outcome, and the report of a panic in it.

mod join;
mod panic_report;
mod sent_error;

pub use join::{ErrorKind, JoinError};
pub use panic_report::PanicReport;

pub(crate) use join::ELSEWHERE;
pub(crate) use sent_error::SentError;
