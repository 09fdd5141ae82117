//! The cases of what processes share: states, memory, locks.

use super::{BOTH, Case, OURS, UNPINNED, here, median, python};
use crate::contenders::{locks, ours, shared_memory, state};
use crate::figure::Unit;

pub(super) const MANAGED_CALL: Case = median(
    "managed-call",
    "one call of a state in a process of its own, awaited: p50",
    Unit::Seconds,
    BOTH,
    &[
        here(OURS, state::managed_call),
        here(
            "eventfd there and back, blocking",
            state::eventfd_round_trip,
        ),
        python("mp.Manager", &["manager.py", "call"]),
    ],
);

pub(super) const STATE_RUN: Case = median(
    "state-run",
    "one tiny task in a worker that holds a state, awaited: p50",
    Unit::Seconds,
    BOTH,
    &[
        here(OURS, state::state_run),
        here("procession, without a state", ours::one_task),
    ],
);

pub(super) const SHARED_ARGUMENT: Case = median(
    "shared-argument",
    "64 MiB of shared memory as argument, its length as result: p50",
    Unit::Seconds,
    UNPINNED,
    &[
        here(OURS, shared_memory::argument),
        python("mp.shared_memory", &["memory.py", "argument"]),
    ],
);

pub(super) const SHARED_STREAM: Case = median(
    "shared-stream",
    "1 MiB of shared memory made, filled, sent and read, one process to another: messages/s",
    Unit::PerSecond,
    UNPINNED,
    &[
        here(OURS, shared_memory::stream),
        here("memcpy and read, one thread", shared_memory::copy),
        python("mp.shared_memory", &["memory.py", "stream"]),
    ],
);

pub(super) const LOCK: Case = median(
    "lock",
    "an uncontended lock, locked and unlocked: per second",
    Unit::PerSecond,
    UNPINNED,
    &[
        here(OURS, locks::uncontended),
        here("procession, awaited", locks::uncontended_awaited),
        here("pthread mutex", locks::raw_uncontended),
        python("mp.Lock", &["locks.py", "uncontended"]),
    ],
);

pub(super) const LOCK_TWO: Case = median(
    "lock-two",
    "two processes at one lock, blocking: per second",
    Unit::PerSecond,
    UNPINNED,
    &[
        here(OURS, locks::two_processes),
        here("pthread mutex", locks::raw_two_processes),
        python("mp.Lock", &["locks.py", "two"]),
    ],
);

pub(super) const LOCK_HAND_OVER: Case = median(
    "lock-hand-over",
    "a lock that a process unlocks and another awaits: p50",
    Unit::Seconds,
    BOTH,
    &[here(OURS, locks::hand_over)],
);
