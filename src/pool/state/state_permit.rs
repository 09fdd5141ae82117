//! A place in the queue of a pool with a state, for a function over that state.
//!
//! Runs in the application. It is a permit of the pool itself that knows the type of the state.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::JoinError;
use crate::pool::calls::permit::{Permit, PermitFuture};
use crate::pool::calls::run::Run;
use crate::pool::calls::task_handle::TaskHandle;
use crate::task::{OverState, StateTask};

/// A future that resolves to a [`StatePermit`]. Made by [`StatePool::reserve`](crate::StatePool::reserve).
///
/// # Errors
///
/// Those of [`PermitFuture`].
///
/// # Cancel safety
///
/// Dropping it gives up its turn, and the place if it has one. Awaiting `&mut reserve` in a `select!` that another
/// branch wins keeps its turn.
///
/// # Panics
///
/// If it is polled after it has resolved.
#[must_use = "a place is reserved when this is awaited"]
pub struct StatePermitFuture<S> {
    reserve: PermitFuture,
    state: PhantomData<fn(&mut S)>,
}

/// A place in the queue of a [`StatePool`](crate::StatePool). Made by
/// [`StatePool::reserve`](crate::StatePool::reserve).
///
/// All else is as [`Permit`] says.
#[must_use = "dropping a permit gives its place back"]
pub struct StatePermit<S> {
    permit: Permit,
    state: PhantomData<fn(&mut S)>,
}

impl<S> StatePermitFuture<S> {
    pub(in crate::pool) fn new(reserve: PermitFuture) -> Self {
        Self {
            reserve,
            state: PhantomData,
        }
    }
}

impl<S> Future for StatePermitFuture<S> {
    type Output = Result<StatePermit<S>, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reserved = Pin::new(&mut self.reserve).poll(cx);
        reserved.map_ok(|permit| StatePermit {
            permit,
            state: PhantomData,
        })
    }
}

impl<S: 'static> StatePermit<S> {
    /// Runs `f` with the state of one of the workers and `args`, in this place. As [`Permit::run`].
    pub fn run<F, M, A>(self, f: F, args: A) -> Run<F::Output>
    where
        F: StateTask<S, M, A>,
    {
        self.permit.run(OverState::<S, F>::of(f), args)
    }

    /// Submits a call of `f` with the state of one of the workers and `args` at once, in this place. As
    /// [`Permit::spawn`].
    pub fn spawn<F, M, A>(self, f: F, args: A) -> TaskHandle<F::Output>
    where
        F: StateTask<S, M, A>,
    {
        self.run(f, args).spawn()
    }
}

impl<S> fmt::Debug for StatePermitFuture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatePermitFuture")
            .field("reserve", &self.reserve)
            .finish()
    }
}

impl<S> fmt::Debug for StatePermit<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatePermit").finish_non_exhaustive()
    }
}
