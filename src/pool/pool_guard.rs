//! What keeps a pool alive.

use std::sync::Arc;

use super::core::Phase;
use super::shared::Shared;

/// What keeps a pool going: clones of it and handles on its tasks. When the last is gone, so is the pool.
#[derive(Debug)]
pub(super) struct PoolGuard {
    pub(super) shared: Arc<Shared>,
}

impl Drop for PoolGuard {
    fn drop(&mut self) {
        self.shared.with(|core| core.close(Phase::Over));
    }
}
