//! Handles on work that runs elsewhere.

mod abort;

pub(crate) use abort::Abort;
pub use abort::AbortHandle;
