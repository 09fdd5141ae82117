//! Waiting for the restart of a pool's workers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::pool_guard::PoolGuard;

/// Resolves when the workers of a pool were restarted. Made by [`Pool::restart_workers`](crate::Pool::restart_workers).
///
/// It counts as a handle on the pool. Dropping it does not stop the restart.
///
/// # Cancel safety
///
/// Cancel safe.
#[must_use = "a restart goes on by itself; await this to know when it is over"]
pub struct Restart {
    guard: Arc<PoolGuard>,
    /// Fails when the core drops the other end, which says that the restart is over.
    done: oneshot::Receiver<()>,
}

impl Restart {
    pub(super) fn new(guard: &Arc<PoolGuard>, done: oneshot::Receiver<()>) -> Self {
        Self {
            guard: Arc::clone(guard),
            done,
        }
    }
}

impl Future for Restart {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let polled = Pin::new(&mut self.done).poll(cx).map(drop);
        if polled.is_pending() {
            self.guard.shared.expect();
        }
        polled
    }
}

impl fmt::Debug for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restart").finish_non_exhaustive()
    }
}
