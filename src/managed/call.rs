//! One call of a state that is awaited.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::away_call::AwayCall;
use super::engine::EngineCall;
use super::home::StateHome;
use super::reads::ReadCall;
use crate::error::JoinError;

/// A call of a [`Managed`](crate::Managed) state. Made by [`Managed::call`](crate::Managed::call) and
/// [`Managed::read`](crate::Managed::read).
///
/// The call is submitted when it is first polled. Dropping it removes it if it was not begun. If it was begun, it runs
/// to its end, and its result is dropped: the state's process belongs to other callers too.
///
/// # Errors
///
/// A [`JoinError`] of any [`kind`](JoinError::kind).
///
/// # Cancel safety
///
/// Awaiting `&mut call` in a `select!` that another branch wins loses nothing.
///
/// # Panics
///
/// If it is polled after it has resolved.
#[must_use = "a call does nothing until it is awaited"]
#[derive(Debug)]
pub struct ManagedCall<R>(pub(super) CallPlace<R>);

/// Where the call is made.
#[derive(Debug)]
pub(super) enum CallPlace<R> {
    Home {
        call: EngineCall<R>,
        /// It must not end before the call.
        _home: Arc<StateHome>,
    },
    Read {
        call: ReadCall<R>,
        /// As above.
        _home: Arc<StateHome>,
    },
    Away(AwayCall<R>),
}

impl<R> Future for ManagedCall<R> {
    type Output = Result<R, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().0 {
            CallPlace::Home { call, .. } => Pin::new(call).poll(cx),
            CallPlace::Read { call, .. } => Pin::new(call).poll(cx),
            CallPlace::Away(call) => Pin::new(call).poll(cx),
        }
    }
}
