//! Where an outcome waits for whoever awaits it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::JoinError;

/// One outcome, set once and taken once.
pub(crate) struct Slot<R>(Mutex<State<R>>);

enum State<R> {
    Pending(Option<Waker>),
    Ready(Result<R, JoinError>),
    Taken,
}

impl<R> Slot<R> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State::Pending(None)))
    }

    /// Sets the outcome, if none was set before, and wakes whoever waits.
    pub(crate) fn set(&self, outcome: Result<R, JoinError>) {
        let mut state = self.lock();
        if let State::Pending(waker) = &mut *state {
            let waker = waker.take();
            *state = State::Ready(outcome);
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Whether the outcome is there, or was.
    pub(crate) fn is_set(&self) -> bool {
        !matches!(*self.lock(), State::Pending(_))
    }

    /// Takes the outcome if it is there.
    pub(crate) fn take(&self) -> Option<Result<R, JoinError>> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Ready(outcome) => Some(outcome),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Takes the outcome, or registers to be woken when it is there.
    ///
    /// # Panics
    ///
    /// If the outcome was taken before, like every future polled after it has completed.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<R, JoinError>> {
        let mut state = self.lock();
        match &mut *state {
            State::Pending(waker) => {
                match waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => *waker = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
            State::Ready(_) => match std::mem::replace(&mut *state, State::Taken) {
                State::Ready(outcome) => Poll::Ready(outcome),
                _ => unreachable!("the state was just looked at, under its lock"),
            },
            State::Taken => panic!("a handle was polled after it had given its outcome"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> fmt::Debug for Slot<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match *self.lock() {
            State::Pending(_) => "pending",
            State::Ready(_) => "ready",
            State::Taken => "taken",
        };
        write!(f, "Slot({state})")
    }
}
