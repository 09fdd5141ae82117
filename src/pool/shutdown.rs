//! Waiting for the end of a pool.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project::pin_project;

use super::decisions::core::Phase;
use super::pool_guard::PoolGuard;
use super::shared::Ended;
use super::shutdown_report::ShutdownReport;
use crate::own_runtime::Timer;

/// Resolves when the last worker of a pool has exited, to what their exit functions have returned.
///
/// It counts as a handle on the pool: while it exists, dropping all other handles kills no worker. Dropping it does not
/// stop the pool from closing.
///
/// # Cancel safety
///
/// Cancel safe. If it has a limit ([`Pool::shutdown_timeout`](crate::Pool::shutdown_timeout)) and is dropped before,
/// no worker is killed.
#[must_use = "a pool closes by itself; await this to know when it has"]
#[pin_project]
pub struct Shutdown {
    guard: Arc<PoolGuard>,
    #[pin]
    ended: Ended,
    /// The limit, until it has begun or is over.
    limit: Option<Duration>,
    /// Boxed, so that a `Shutdown` is `Unpin`.
    timer: Option<Pin<Box<Timer>>>,
}

impl Shutdown {
    /// Waits for the end of a pool that is closing, and ends the pool after `limit`, counted from the first poll.
    pub(super) fn new(guard: &Arc<PoolGuard>, limit: Option<Duration>) -> Self {
        Self {
            guard: Arc::clone(guard),
            ended: guard.shared.ended.clone(),
            limit,
            timer: None,
        }
    }
}

impl Future for Shutdown {
    type Output = ShutdownReport;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ShutdownReport> {
        let this = self.project();
        let report = || ShutdownReport::new(&this.guard.shared.settings.exit_results);
        if this.guard.shared.is_elsewhere() {
            return Poll::Ready(report());
        }
        // An error says the same: the driver was dropped.
        if this.ended.poll(cx).is_ready() {
            return Poll::Ready(report());
        }
        if let Some(limit) = this.limit.take() {
            *this.timer = Some(Box::pin(Timer::after(limit)));
        }
        if let Some(timer) = this.timer {
            if timer.as_mut().poll(cx).is_ready() {
                *this.timer = None;
                this.guard.shared.with(|core| core.close(Phase::Over));
            }
        }
        this.guard.shared.expect();
        Poll::Pending
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown").finish_non_exhaustive()
    }
}
