//! How a task has ended, and sets of the ways in which it may end.

use procession::{ErrorKind, JoinError};

/// How a task has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// With its value.
    Done,
    Panicked,
    /// Its worker was killed by the test.
    Killed,
    /// Its worker was ended by a signal of the task's own.
    Signalled,
    Exited,
    /// It ran longer than it may.
    Overran,
    /// It waited longer than it may, and did not start.
    Overdue,
    Cancelled,
    OutOfMemory,
    Undecodable,
    /// Its worker or its pool did not take it.
    Closed,
    /// No worker could be started.
    Unstartable,
}

impl Cause {
    const ALL: [Self; 12] = [
        Self::Done,
        Self::Panicked,
        Self::Killed,
        Self::Signalled,
        Self::Exited,
        Self::Overran,
        Self::Overdue,
        Self::Cancelled,
        Self::OutOfMemory,
        Self::Undecodable,
        Self::Closed,
        Self::Unstartable,
    ];

    /// The causes that the pool counts as failures.
    pub(crate) fn failures() -> Vec<Self> {
        let is_failure = |it: &Self| !matches!(it, Self::Done | Self::Cancelled | Self::Closed);
        Self::ALL.into_iter().filter(is_failure).collect()
    }

    /// The cause of an outcome. `own` is the signal with which the task ends its worker.
    pub(crate) fn of<T>(outcome: &Result<T, JoinError>, own: Option<i32>) -> Self {
        let Err(error) = outcome else {
            return Self::Done;
        };
        match error.kind() {
            ErrorKind::Panicked => Self::Panicked,
            ErrorKind::Crashed if own.is_some() && error.signal() == own => Self::Signalled,
            ErrorKind::Crashed if error.signal() == Some(9) => Self::Killed,
            ErrorKind::Exited => Self::Exited,
            ErrorKind::TimedOut if error.started() => Self::Overran,
            ErrorKind::TimedOut => Self::Overdue,
            ErrorKind::Cancelled => Self::Cancelled,
            ErrorKind::MemoryExceeded => Self::OutOfMemory,
            ErrorKind::Decode => Self::Undecodable,
            ErrorKind::Closed => Self::Closed,
            ErrorKind::Spawn => Self::Unstartable,
            _ => panic!("no task of this test ends so: {error:?}"),
        }
    }

    /// Whether the function certainly ran: it wrote a note first.
    pub(crate) fn proves_a_run(self) -> bool {
        matches!(
            self,
            Self::Done
                | Self::Panicked
                | Self::Signalled
                | Self::Exited
                | Self::OutOfMemory
                | Self::Undecodable
        )
    }
}

/// A set of causes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Causes(u16);

impl Causes {
    pub(crate) fn with(self, cause: Cause) -> Self {
        Self(self.0 | 1 << cause as u16)
    }

    pub(crate) fn with_if(self, condition: bool, cause: Cause) -> Self {
        match condition {
            true => self.with(cause),
            false => self,
        }
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn has(self, cause: Cause) -> bool {
        self.0 & 1 << cause as u16 != 0
    }

    pub(crate) fn has_any(self, causes: &[Cause]) -> bool {
        causes.iter().any(|&it| self.has(it))
    }
}

impl From<Cause> for Causes {
    fn from(cause: Cause) -> Self {
        Self::default().with(cause)
    }
}

impl std::fmt::Debug for Causes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let has = Cause::ALL.into_iter().filter(|&it| self.has(it));
        f.debug_set().entries(has).finish()
    }
}
