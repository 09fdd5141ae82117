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

/// Whether a worker is kept for something else than waiting tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::pool) enum Reservation {
    #[default]
    None,
    /// It is lent out for this request when it has finished what it has.
    Promised(TaskKey),
    /// It is lent out.
    Lent,
}
