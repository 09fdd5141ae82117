//! What keeps a pool alive.

use std::sync::Arc;

use super::decisions::core::Phase;
use super::shared::PoolShared;

/// Held by the clones of a pool, and by the handles of its tasks. When the last is dropped, the workers are killed.
#[derive(Debug)]
pub(super) struct PoolGuard {
    pub(super) shared: Arc<PoolShared>,
}

impl Drop for PoolGuard {
    fn drop(&mut self) {
        self.shared.with(|core| core.close(Phase::Over));
    }
}
