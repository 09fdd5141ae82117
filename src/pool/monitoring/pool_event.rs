//! What happens in a pool, as its users see it.

use super::recycle_reason::RecycleReason;
use crate::error::JoinError;

/// Something that has happened in a pool. Item of [`PoolEvents`](crate::PoolEvents).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PoolEvent {
    /// The process of a worker was started. Its initializer may not have run yet.
    WorkerStarted,
    /// A worker has ended.
    WorkerExited {
        /// How: its pid, and its exit status or signal. A worker that has left in an orderly way has
        /// [`ErrorKind::Exited`](crate::ErrorKind::Exited) and the exit code 0. A worker whose initializer has failed is
        /// killed, and has that failure ([`ErrorKind::Spawn`](crate::ErrorKind::Spawn)).
        cause: JoinError,
    },
    /// A worker that could have gone on takes no more tasks, and another takes its place.
    WorkerRecycled {
        /// Why.
        why: RecycleReason,
    },
    /// A task ran longer than its time limit, or waited longer than its [`queue_timeout`](crate::Run::queue_timeout).
    TaskTimedOut,
    /// Workers could not be started several times in a row. The pool tries more rarely from now on.
    BreakerOpened {
        /// Why the last of them could not. Tasks that wait fail with it if no worker is left.
        cause: JoinError,
    },
    /// Workers can be started again.
    BreakerClosed,
    /// The reader was too slow: so many events were dropped before the next.
    Missed(usize),
}
