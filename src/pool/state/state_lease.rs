//! One worker of a pool with a state, for several calls over that state.
//!
//! Runs in the application. It is a lease of the pool itself that knows the type of the state.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::state_stream::StateStreamTask;
use crate::error::JoinError;
use crate::pool::calls::lease::{Lease, LeaseRequest};
use crate::pool::calls::run::Run;
use crate::pool::calls::task_stream::TaskStream;
use crate::task::{OverState, StateTask};

/// One worker of a [`StatePool`](crate::StatePool), and so one state, for several calls. Made by
/// [`StatePool::worker`](crate::StatePool::worker).
///
/// As [`Lease`]. A call that panics ends this lease, too: its worker leaves with the state.
#[must_use = "dropping a lease gives its worker back"]
pub struct StateLease<S> {
    lease: Lease,
    state: PhantomData<fn(&mut S)>,
}

/// A future that resolves to a [`StateLease`]. Made by [`StatePool::worker`](crate::StatePool::worker).
///
/// # Errors
///
/// Those of [`Pool::worker`](crate::Pool::worker).
///
/// # Cancel safety
///
/// Dropping it withdraws the request, or gives the worker back. Awaiting `&mut request` in a `select!` that another
/// branch wins loses nothing.
///
/// # Panics
///
/// If it is polled after it has resolved.
#[must_use = "a worker is lent out when this is awaited"]
pub struct StateLeaseRequest<S> {
    request: LeaseRequest,
    state: PhantomData<fn(&mut S)>,
}

impl<S> StateLeaseRequest<S> {
    pub(in crate::pool) fn new(request: LeaseRequest) -> Self {
        Self {
            request,
            state: PhantomData,
        }
    }
}

impl<S: 'static> StateLease<S> {
    /// Runs `f` with the state of the leased worker and `args`. As [`Lease::run`].
    pub fn run<F, M, A>(&self, f: F, args: A) -> Run<F::Output>
    where
        F: StateTask<S, M, A>,
    {
        self.lease.run(OverState::<S, F>::of(f), args)
    }

    /// Runs `f` with the state of the leased worker, and gives the items that it sends while it runs. As
    /// [`Lease::stream`].
    pub fn stream<F, M, A>(&self, f: F, args: A) -> TaskStream<F::Item>
    where
        F: StateStreamTask<S, M, A>,
        A: Send + 'static,
    {
        self.lease.stream(OverState::<S, F>::of(f), args)
    }

    /// The id of the worker's process.
    pub fn pid(&self) -> u32 {
        self.lease.pid()
    }
}

impl<S> Future for StateLeaseRequest<S> {
    type Output = Result<StateLease<S>, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let leased = Pin::new(&mut self.request).poll(cx);
        leased.map_ok(|lease| StateLease {
            lease,
            state: PhantomData,
        })
    }
}

impl<S> fmt::Debug for StateLease<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateLease")
            .field("lease", &self.lease)
            .finish()
    }
}

impl<S> fmt::Debug for StateLeaseRequest<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateLeaseRequest")
            .field("request", &self.request)
            .finish()
    }
}
