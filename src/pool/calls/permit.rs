//! A place in the queue of a pool that its holder fills later.
//!
//! Runs in the application. Must stay true: a dropped permit, and a dropped wait for one, gives its place back.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::run::Run;
use super::task_handle::TaskHandle;
use super::ticket::Ticket;
use crate::call::single::Single;
use crate::error::JoinError;
use crate::pool::decisions::admission::Need;
use crate::pool::options::shared_options::SharedOptions;
use crate::pool::pool_guard::PoolGuard;
use crate::schedule::Priority;
use crate::task::Task;

/// What waits for a place is called in errors: there is no function yet.
const RESERVE_NAME: &str = "procession::Pool::reserve";

/// A future that resolves to a [`Permit`]. Made by [`Pool::reserve`](crate::Pool::reserve).
///
/// # Errors
///
/// [`ErrorKind::Closed`](crate::ErrorKind::Closed) if the pool was closed,
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) if it was terminated while this waited, and
/// [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut) after the pool's
/// [`queue_timeout`](crate::PoolBuilder::queue_timeout).
///
/// # Cancel safety
///
/// Dropping it gives up its turn, and the place if it has one. Awaiting `&mut reservation` in a `select!` that another
/// branch wins keeps its turn.
///
/// # Panics
///
/// If it is polled after it has resolved.
#[must_use = "a place is reserved when this is awaited"]
pub struct PermitFuture {
    guard: Arc<PoolGuard>,
    defaults: SharedOptions,
    stage: PermitStage,
}

#[derive(Debug)]
enum PermitStage {
    New,
    Held(Ticket),
    Over,
}

impl PermitFuture {
    pub(in crate::pool) fn new(guard: &Arc<PoolGuard>, defaults: SharedOptions) -> Self {
        Self {
            guard: Arc::clone(guard),
            defaults,
            stage: PermitStage::New,
        }
    }

    /// The ticket, which is taken at the first poll.
    fn ticket(&mut self, cx: &Context<'_>) -> Result<&mut Ticket, JoinError> {
        if let PermitStage::New = self.stage {
            self.defaults.begin_wait();
            let need = Need {
                priority: Priority::Normal,
                bytes: 0,
                start_by: self.defaults.start_by,
            };
            let ticket = Ticket::take(&self.guard.shared, need, RESERVE_NAME, cx)?;
            self.stage = PermitStage::Held(ticket);
        }
        match &mut self.stage {
            PermitStage::Held(ticket) => Ok(ticket),
            _ => panic!("`PermitFuture` was polled after it had resolved"),
        }
    }
}

impl Future for PermitFuture {
    type Output = Result<Permit, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let guard = Arc::clone(&this.guard);
        let outcome = match this.ticket(cx) {
            Ok(ticket) => std::task::ready!(ticket.poll(&guard.shared, RESERVE_NAME, cx)),
            Err(error) => Err(error),
        };
        this.stage = PermitStage::Over;
        let mut defaults = std::mem::take(&mut this.defaults);
        if defaults.start_by.is_some() {
            defaults.start_by = None;
        }
        Poll::Ready(outcome.map(|()| Permit {
            guard,
            defaults,
            is_filled: false,
        }))
    }
}

impl Drop for PermitFuture {
    fn drop(&mut self) {
        if let PermitStage::Held(ticket) = self.stage {
            ticket.leave(&self.guard.shared);
        }
    }
}

impl fmt::Debug for PermitFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PermitFuture")
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

/// A place in the queue of a pool. Made by [`Pool::reserve`](crate::Pool::reserve).
///
/// It counts as a waiting task until it is filled or dropped, and keeps the pool alive. Dropping it gives the place
/// back. A permit outlives the closing of its pool, but then its calls fail with
/// [`ErrorKind::Closed`](crate::ErrorKind::Closed).
///
/// The place counts no bytes: of a pool with a limit of [`queue_bytes`](crate::PoolBuilder::queue_bytes),
/// [`run`](Self::run) may still wait for room for its arguments.
///
/// The place may be kept for any time. The pool's [`queue_timeout`](crate::PoolBuilder::queue_timeout) counts for the
/// wait for the permit, and again for the call.
#[must_use = "dropping a permit gives its place back"]
pub struct Permit {
    guard: Arc<PoolGuard>,
    defaults: SharedOptions,
    /// Whether a call has the place.
    is_filled: bool,
}

/// The place of a permit: for arguments whose length is not known.
const UNKNOWN_LENGTH: Ticket = Ticket::HasPlace(0);

impl Permit {
    /// Runs `f` with `args` in one of the workers, as [`Pool::run`](crate::Pool::run) does, in this place.
    ///
    /// Dropping the future before it is polled gives the place back.
    pub fn run<F, M, A>(mut self, f: F, args: A) -> Run<F::Output>
    where
        F: Task<M, A>,
    {
        let _ = f; // has no bytes: its type is the function
        let job = Arc::new(Single::<F::Call>::new(F::arguments(args)));
        self.is_filled = true;
        Run::with_ticket(
            &self.guard,
            job,
            std::mem::take(&mut self.defaults),
            UNKNOWN_LENGTH,
        )
    }

    /// Submits a call of `f` with `args` at once, as [`Pool::spawn`](crate::Pool::spawn) does, in this place.
    pub fn spawn<F, M, A>(self, f: F, args: A) -> TaskHandle<F::Output>
    where
        F: Task<M, A>,
    {
        self.run(f, args).spawn()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.is_filled {
            UNKNOWN_LENGTH.leave(&self.guard.shared);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
