//! Why an awaited outcome is not a value.

mod join;
mod panic_report;

pub use join::{ErrorKind, JoinError};
pub use panic_report::PanicReport;
