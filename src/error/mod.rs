//! The error of every awaited outcome, and the reports of a panic and a crash in it.
//!
//! An error is made in the process that finds the failure, and travels to the process that awaits the outcome
//! (`sent_error`). Must stay true: an error says whether the function may have started; its text names the task, and
//! what happened. Never here: the decision whether a task runs again.

mod crash_report;
mod join;
mod panic_report;
mod reason;
mod sent_error;
mod symbols;

pub use crash_report::CrashReport;
pub use join::{ErrorKind, JoinError};
pub use panic_report::PanicReport;

pub(crate) use crash_report::CrashFacts;
pub(crate) use join::ELSEWHERE;
pub(crate) use sent_error::SentError;
