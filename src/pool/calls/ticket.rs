//! A place in the queue of a pool, or the wait for one.
//!
//! Runs in the application, in the task that waits. Must stay true: a ticket is filled by a task or given back
//! ([`Ticket::leave`]); its owner does so when it is dropped.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::error::{ErrorKind, JoinError};
use crate::pool::decisions::admission::{Need, WaitKey, WaitStatus};
use crate::pool::decisions::close::LOST_RUNTIME;
use crate::pool::decisions::core::{Core, Phase};
use crate::pool::shared::PoolShared;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum Ticket {
    Waits(WaitKey),
    /// A place that counts so many bytes.
    HasPlace(u64),
}

impl Ticket {
    /// A ticket for what `need` says. It waits for its place if there is no room.
    ///
    /// # Errors
    ///
    /// The pool takes no tasks.
    pub(in crate::pool) fn take(
        shared: &Arc<PoolShared>,
        need: Need,
        task: &'static str,
        cx: &Context<'_>,
    ) -> Result<Self, JoinError> {
        if shared.lock().try_give_place(need.bytes) {
            return Ok(Self::HasPlace(need.bytes));
        }
        // Cloning a waker runs code of the executor, so the lock is not held.
        Self::wait(shared, need, task, cx, false)
    }

    /// A ticket that waits, before those of its priority if its owner `has_waited` already.
    pub(in crate::pool) fn wait(
        shared: &Arc<PoolShared>,
        need: Need,
        task: &'static str,
        cx: &Context<'_>,
        has_waited: bool,
    ) -> Result<Self, JoinError> {
        if shared.is_elsewhere() {
            return Err(JoinError::elsewhere(task));
        }
        let waker = cx.waker().clone();
        let begun = shared.with(|core| match core.phase {
            Phase::Open => {
                core.run_driver_by(need.start_by);
                Ok(core.admission.wait(need, waker, has_waited))
            }
            // Dropping a waker runs code of the executor too.
            _ => Err((core.refusal(task), waker)),
        });
        match begun {
            Ok(key) => Ok(Self::Waits(key)),
            Err((error, _)) => Err(error),
        }
    }

    /// Waits for the place.
    ///
    /// # Errors
    ///
    /// The pool was closed or terminated, or the time was over.
    pub(in crate::pool) fn poll(
        &mut self,
        shared: &Arc<PoolShared>,
        task: &'static str,
        cx: &Context<'_>,
    ) -> Poll<Result<(), JoinError>> {
        let Self::Waits(key) = *self else {
            return Poll::Ready(Ok(()));
        };
        if shared.is_elsewhere() {
            return Poll::Ready(Err(JoinError::elsewhere(task)));
        }
        let mut waker = Some(cx.waker().clone());
        let status = shared.lock().admission.poll(key, &mut waker);
        // The lock is not held: dropping a waker runs code of the executor.
        drop(waker);
        match status {
            WaitStatus::Waits => {
                shared.expect();
                Poll::Pending
            }
            WaitStatus::Lapsed(need) => {
                *self = Self::wait(shared, need, task, cx, true)?;
                // It may have been given a place again at once.
                self.poll(shared, task, cx)
            }
            WaitStatus::HasPlace(bytes) => {
                *self = Self::HasPlace(bytes);
                Poll::Ready(Ok(()))
            }
            WaitStatus::Refused(kind) => {
                let error = shared.read(|core| core.wait_error(kind, task));
                Poll::Ready(Err(error))
            }
        }
    }

    /// Gives the place back, or ends the wait.
    pub(in crate::pool) fn leave(self, shared: &Arc<PoolShared>) {
        if shared.is_elsewhere() {
            return;
        }
        // The lock is not held when the waker is dropped.
        let waker = shared.with(|core| core.give_back(self));
        drop(waker);
    }
}

impl Core {
    /// The ticket's place is given back, or its wait ends. Returns the waker, to be dropped where no lock is held.
    pub(in crate::pool) fn give_back(&mut self, ticket: Ticket) -> Option<Waker> {
        match ticket {
            Ticket::Waits(key) => self.admission.leave(key),
            Ticket::HasPlace(bytes) => {
                self.admission.take_back(bytes);
                None
            }
        }
    }

    /// The error of a task whose wait for a place ended without one.
    fn wait_error(&self, kind: ErrorKind, task: &'static str) -> JoinError {
        let error = JoinError::new(kind, task);
        match kind {
            ErrorKind::Closed if self.lost_runtime => error.because(LOST_RUNTIME),
            _ => error,
        }
    }
}
