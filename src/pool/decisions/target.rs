//! Which worker may run a task, if not any, and to whom a worker is lent.

use crate::schedule::TaskKey;

/// One worker. No other worker of the pool has its id, also after it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) struct WorkerId(pub(in crate::pool) u64);

/// The only worker that may run a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum Target {
    /// The worker that was lent out. If it has ended, the task fails.
    Lease(WorkerId),
    /// The worker with this number, or its replacement.
    Number(usize),
}

/// Whether a worker is kept for something else than waiting tasks. All its lanes are, and the first has the
/// reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::pool) enum Reservation {
    #[default]
    None,
    /// It is lent out for this request when it has finished what it has.
    Promised(TaskKey),
    /// It is lent out.
    Lent,
    /// Its lease has ended, and it runs the calls that were submitted through the lease.
    GivenBack,
}

impl Reservation {
    /// Whether the worker runs calls of a lease, and so one task at a time.
    pub(in crate::pool) fn is_exclusive(self) -> bool {
        matches!(self, Self::Lent | Self::GivenBack)
    }
}
