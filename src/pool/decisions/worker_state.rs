//! The life of one worker, from the decision to start it until its exit was seen.
//!
//! ```text
//! Starting ──▶ Preparing ──▶ Ready ◀──▶ Cancelling
//!     │            │           │            │
//!     └────────────┴───────────┴────────────┴──▶ Stopping ──▶ (removed on exit)
//! ```
//!
//! Every transition returns what the caller must do next. Transitions perform nothing: they send no message and no
//! signal, so that a test can take every one of them without a process.
//!
//! Must stay true: a worker takes tasks if and only if it is `Ready` and not suspect; no state but `Starting` and
//! `Stopping` is without a process.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::call::RequestWriter;
use crate::error::ErrorKind;
use crate::pool::monitoring::info::WorkerState;
use crate::ring::Cursor;
use crate::schedule::TaskKey;
use crate::spawn::SignalHandle;
use crate::sys::clock::Moment;

/// The parent's ways to a worker's process.
#[derive(Debug)]
pub(in crate::pool) struct WorkerIo {
    pub(in crate::pool) requests: RequestWriter,
    pub(in crate::pool) signal_handle: Arc<SignalHandle>,
}

/// A worker that is killed because of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) struct PendingKill {
    pub(in crate::pool) task: TaskKey,
    /// The error of the task.
    pub(in crate::pool) kind: ErrorKind,
    /// When the worker is killed, if the task has not ended by itself.
    pub(in crate::pool) at: Moment,
}

/// The state of a worker. `I` is the way to its process.
#[derive(Debug)]
pub(in crate::pool) enum WorkerLife<I = WorkerIo> {
    /// No process is known yet. Dropping `_wanted` ends the start, which may take long: a preload may never return. If
    /// the worker is to exit when it has run its initializers, it is killed at `kill_at`.
    Starting {
        _wanted: oneshot::Sender<()>,
        kill_at: Option<Moment>,
    },
    /// The process runs its initializers.
    Preparing { io: I },
    /// The worker takes tasks, unless it is suspect: then it has not started the request at `suspect_at`, when other
    /// workers would have, and may not run at all.
    Ready { io: I, suspect_at: Option<Cursor> },
    /// The worker was told to cancel the task that it runs, and is killed if the task does not end in time.
    Cancelling { io: I, kill: PendingKill },
    /// The worker was killed, or told to exit, or leaves of itself: then it is killed at `kill_at`. Its exit was not
    /// seen yet. There is no `io` if there was no process.
    Stopping {
        io: Option<I>,
        because: Option<PendingKill>,
        kill_at: Option<Moment>,
    },
}

/// What the caller of a transition must do next.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum NextStep {
    /// Nothing.
    Nothing,
    /// Give the worker tasks.
    Dispatch,
    /// Have the doorbell rung when the worker releases a request. If no request is left, clear the suspicion.
    Watch,
    /// Tell the worker to cancel the task that it runs.
    SendCancel(TaskKey),
    /// Tell the worker to exit. If there is no space for that, kill it.
    SendStop,
    /// Kill the process.
    Kill,
}

/// Transitions.
impl<I> WorkerLife<I> {
    /// A process was started. `has_init` says whether it runs initializers before its first task.
    pub(in crate::pool) fn on_started(&mut self, io: I, has_init: bool) -> NextStep {
        let (life, next) = match self.take() {
            Self::Starting {
                kill_at: Some(at), ..
            } => (Self::leaving(io, at), NextStep::SendStop),
            Self::Starting { .. } if has_init => (Self::Preparing { io }, NextStep::Nothing),
            Self::Starting { .. } => (Self::ready(io), NextStep::Dispatch),
            Self::Stopping { because, .. } => (Self::stopping(Some(io), because), NextStep::Kill),
            other => {
                debug_assert!(false, "a worker is started once");
                (other, NextStep::Nothing)
            }
        };
        *self = life;
        next
    }

    /// All initializers have returned without an error.
    pub(in crate::pool) fn on_initialized(&mut self) -> NextStep {
        let (life, next) = match self.take() {
            Self::Preparing { io } => (Self::ready(io), NextStep::Dispatch),
            other => (other, NextStep::Nothing),
        };
        *self = life;
        next
    }

    /// The worker has not started the request at `position`, when other workers would have.
    pub(in crate::pool) fn suspect(&mut self, position: Cursor) -> NextStep {
        match self {
            Self::Ready { suspect_at, .. } => {
                *suspect_at = Some(position);
                NextStep::Watch
            }
            _ => NextStep::Nothing,
        }
    }

    /// The worker was seen to run.
    pub(in crate::pool) fn clear_suspicion(&mut self) -> NextStep {
        if self.suspect_at().is_none() {
            return NextStep::Nothing;
        }
        if let Self::Ready { suspect_at, .. } = self {
            *suspect_at = None;
        }
        NextStep::Dispatch
    }

    /// The task that the worker runs must end: by itself before `kill.at`, or with the worker.
    pub(in crate::pool) fn schedule_kill(&mut self, kill: PendingKill, now: Moment) -> NextStep {
        let (life, next) = match self.take() {
            Self::Ready { io, .. } if now < kill.at => {
                let next = NextStep::SendCancel(kill.task);
                (Self::Cancelling { io, kill }, next)
            }
            Self::Ready { io, .. } => (Self::stopping(Some(io), Some(kill)), NextStep::Kill),
            Self::Stopping { io, because, .. } => {
                let because = because.or(Some(kill));
                (Self::stopping(io, because), NextStep::Kill)
            }
            other => (other, NextStep::Nothing),
        };
        *self = life;
        next
    }

    /// `task` has ended. If the worker was to be killed for it, the worker is saved, and the caller ends the task as
    /// the kill says and gives the worker tasks again. If the worker was killed for it a moment before, the caller ends
    /// the task in the same way: what a task does when it is told to stop is not its outcome.
    #[must_use]
    pub(in crate::pool) fn on_ended(&mut self, task: TaskKey) -> Option<PendingKill> {
        // Looked at first: the state is large, and this is asked at the end of every task.
        let reason = self.kill_reason().filter(|kill| kill.task == task)?;
        *self = match self.take() {
            Self::Cancelling { io, .. } => Self::ready(io),
            other => other,
        };
        Some(reason)
    }

    /// The worker must exit when it has finished what it was sent.
    pub(in crate::pool) fn stop(&mut self) -> NextStep {
        match self.take() {
            Self::Ready { io, .. } => {
                *self = Self::stopping(Some(io), None);
                NextStep::SendStop
            }
            stopping @ Self::Stopping { .. } => {
                *self = stopping;
                NextStep::Nothing
            }
            other => {
                *self = other;
                self.kill()
            }
        }
    }

    /// The worker has said that it begins nothing more. It is killed if it still exists at `kill_at`.
    pub(in crate::pool) fn leave(&mut self, kill_at: Moment) -> NextStep {
        let life = match self.take() {
            Self::Ready { io, .. } => Self::leaving(io, kill_at),
            other => other,
        };
        *self = life;
        NextStep::Nothing
    }

    /// A worker that leaves of itself may do so until `kill_at`.
    pub(in crate::pool) fn put_off_kill(&mut self, kill_at: Moment) {
        if let Self::Stopping {
            kill_at: Some(at), ..
        } = self
        {
            *at = kill_at;
        }
    }

    /// The worker must exit when it has run its initializers: it drops the state that they make. It is killed if it
    /// still exists at `kill_at`.
    pub(in crate::pool) fn stop_prepared(&mut self, kill_at: Moment) -> NextStep {
        match self.take() {
            Self::Preparing { io } => {
                *self = Self::leaving(io, kill_at);
                NextStep::SendStop
            }
            // Its process may run the initializers already.
            Self::Starting {
                _wanted,
                kill_at: known,
            } => {
                let kill_at = known.or(Some(kill_at));
                *self = Self::Starting { _wanted, kill_at };
                NextStep::Nothing
            }
            other => {
                *self = other;
                self.stop()
            }
        }
    }

    /// The worker must exit now.
    pub(in crate::pool) fn kill(&mut self) -> NextStep {
        let (io, because) = match self.take() {
            Self::Starting { .. } => (None, None),
            Self::Preparing { io } | Self::Ready { io, .. } => (Some(io), None),
            Self::Cancelling { io, kill } => (Some(io), Some(kill)),
            Self::Stopping { io, because, .. } => (io, because),
        };
        let next = match io {
            Some(_) => NextStep::Kill,
            None => NextStep::Nothing,
        };
        *self = Self::stopping(io, because);
        next
    }

    fn ready(io: I) -> Self {
        let suspect_at = None;
        Self::Ready { io, suspect_at }
    }

    fn leaving(io: I, kill_at: Moment) -> Self {
        Self::Stopping {
            io: Some(io),
            because: None,
            kill_at: Some(kill_at),
        }
    }

    fn stopping(io: Option<I>, because: Option<PendingKill>) -> Self {
        let kill_at = None;
        Self::Stopping {
            io,
            because,
            kill_at,
        }
    }

    /// Takes the state, which a transition replaces before it returns.
    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::stopping(None, None))
    }
}

/// Questions.
impl<I> WorkerLife<I> {
    /// Whether the worker takes tasks.
    pub(in crate::pool) fn takes_tasks(&self) -> bool {
        match self {
            Self::Ready { suspect_at, .. } => suspect_at.is_none(),
            _ => false,
        }
    }

    /// Whether it is not ready for its first task.
    pub(in crate::pool) fn is_on_the_way(&self) -> bool {
        matches!(self, Self::Starting { .. } | Self::Preparing { .. })
    }

    /// Whether it reads requests, and none of its tasks is being cancelled.
    pub(in crate::pool) fn takes_requests(&self) -> bool {
        matches!(self, Self::Ready { .. })
    }

    /// Whether no kill of it is scheduled.
    pub(in crate::pool) fn is_settled(&self) -> bool {
        !matches!(self, Self::Cancelling { .. })
    }

    pub(in crate::pool) fn is_stopping(&self) -> bool {
        matches!(self, Self::Stopping { .. })
    }

    /// Whether it was not killed, and leaves: of itself, or because it was told to drop its state.
    pub(in crate::pool) fn is_leaving(&self) -> bool {
        matches!(
            self,
            Self::Stopping {
                io: Some(_),
                kill_at: Some(_),
                ..
            }
        )
    }

    /// Whether the process runs its initializers.
    pub(in crate::pool) fn is_preparing(&self) -> bool {
        matches!(self, Self::Preparing { .. })
    }

    /// The request that a suspect worker has not started.
    pub(in crate::pool) fn suspect_at(&self) -> Option<Cursor> {
        match self {
            Self::Ready { suspect_at, .. } => *suspect_at,
            _ => None,
        }
    }

    /// The kill that is scheduled or done because of one task.
    pub(in crate::pool) fn kill_reason(&self) -> Option<PendingKill> {
        match self {
            Self::Cancelling { kill, .. } => Some(*kill),
            Self::Stopping { because, .. } => *because,
            _ => None,
        }
    }

    /// When the worker must be killed.
    pub(in crate::pool) fn kill_at(&self) -> Option<Moment> {
        match self {
            Self::Cancelling { kill, .. } => Some(kill.at),
            Self::Stopping { kill_at, .. } | Self::Starting { kill_at, .. } => *kill_at,
            _ => None,
        }
    }

    /// The way to the process, if there is one.
    pub(in crate::pool) fn io(&self) -> Option<&I> {
        match self {
            Self::Starting { .. } => None,
            Self::Preparing { io } | Self::Ready { io, .. } | Self::Cancelling { io, .. } => {
                Some(io)
            }
            Self::Stopping { io, .. } => io.as_ref(),
        }
    }

    /// As [`WorkerLife::io`].
    pub(in crate::pool) fn io_mut(&mut self) -> Option<&mut I> {
        match self {
            Self::Starting { .. } => None,
            Self::Preparing { io } | Self::Ready { io, .. } | Self::Cancelling { io, .. } => {
                Some(io)
            }
            Self::Stopping { io, .. } => io.as_mut(),
        }
    }

    /// The state as users see it. `serves` says whether the process takes requests, `busy` whether the worker has
    /// tasks.
    pub(in crate::pool) fn public(&self, serves: bool, busy: bool) -> WorkerState {
        match self {
            Self::Starting { .. } | Self::Preparing { .. } => WorkerState::Starting,
            // Its first tasks are written into its ring before its process has begun.
            Self::Ready { .. } | Self::Cancelling { .. } if !serves => WorkerState::Starting,
            Self::Ready { .. } | Self::Cancelling { .. } if busy => WorkerState::Busy,
            Self::Ready { .. } | Self::Cancelling { .. } => WorkerState::Idle,
            Self::Stopping { .. } => WorkerState::Stopping,
        }
    }
}

#[cfg(test)]
mod tests;
