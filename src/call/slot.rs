//! A slot: where one outcome waits for the handle that awaits it.
//!
//! Runs in the parent. The driver or a supervisor sets the outcome; the handle's future takes it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::JoinError;
use crate::sys::process_mark::ProcessMark;

/// A place for one outcome, which is set once and taken once.
pub(crate) struct Slot<R> {
    state: Mutex<State<R>>,
    /// The process whose driver or supervisor sets the outcome.
    mark: ProcessMark,
}

enum State<R> {
    Pending(Option<Waker>),
    Ready(Result<R, JoinError>),
    Taken,
}

impl<R> Slot<R> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State::Pending(None)),
            mark: ProcessMark::here(),
        }
    }

    /// Whether this process is a copy (`fork`) of the process that will have the outcome. Nothing sets it here.
    pub(crate) fn is_elsewhere(&self) -> bool {
        !self.mark.is_here()
    }

    /// Sets the outcome, unless one was set before, and wakes the task that waits for it.
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

    /// Whether an outcome was set, or will never be. It may have been taken.
    pub(crate) fn is_set(&self) -> bool {
        self.is_elsewhere() || !matches!(*self.lock(), State::Pending(_))
    }

    /// Takes the outcome, if it was set and not taken.
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

    /// Takes the outcome, or registers the task to be woken when it is set.
    ///
    /// # Panics
    ///
    /// If the outcome was taken before: a future was polled after it had completed.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<R, JoinError>> {
        if let Some(outcome) = self.take_or_panic() {
            return Poll::Ready(outcome);
        }
        // Cloning a waker and dropping one runs code of the executor, so the lock is not held.
        let mut waker = Some(cx.waker().clone());
        let mut state = self.lock();
        let is_pending = match &mut *state {
            State::Pending(registered) => {
                std::mem::swap(registered, &mut waker);
                true
            }
            _ => false,
        };
        drop(state);
        match is_pending {
            true => Poll::Pending,
            // The outcome came meanwhile.
            false => self.take_or_panic().map_or(Poll::Pending, Poll::Ready),
        }
    }

    /// Takes the outcome, if it was set.
    fn take_or_panic(&self) -> Option<Result<R, JoinError>> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Ready(outcome) => Some(outcome),
            State::Taken => panic!("a handle was polled after it had given its outcome"),
            pending => {
                *state = pending;
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
