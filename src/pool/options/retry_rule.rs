//! Which failed calls are run again, by a rule of the user.
//!
//! Runs in the application, where no lock is held.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::JoinError;

/// See the module.
#[derive(Clone)]
pub(in crate::pool) struct RetryRule(Arc<dyn Fn(&JoinError) -> bool + Send + Sync>);

impl RetryRule {
    pub(in crate::pool) fn new(rule: impl Fn(&JoinError) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(rule))
    }

    /// Whether a call that has failed so runs again. A rule that panics says no: it runs in the pool's driver.
    pub(in crate::pool) fn allows(&self, error: &JoinError) -> bool {
        catch_unwind(AssertUnwindSafe(|| (self.0)(error))).unwrap_or(false)
    }
}

impl fmt::Debug for RetryRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RetryRule")
    }
}
