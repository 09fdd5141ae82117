//! The cases of starts: processes, replaced workers, preloads.

use super::{BOTH, Case, OURS, UNPINNED, here, median, percentile_99, python};
use crate::contenders::{procspawn, starting};
use crate::figure::Unit;

pub(super) const START: Case = median(
    "start",
    "start a process, run a tiny function, join: p50",
    Unit::Seconds,
    BOTH,
    &[
        here(OURS, starting::fork),
        here("procession, exec", starting::exec),
        here("procspawn", procspawn::start),
        python("mp fork", &["process.py", "fork"]),
        python("mp forkserver", &["process.py", "forkserver"]),
        python("mp spawn", &["process.py", "spawn"]),
    ],
);

pub(super) const START_APART: Case = median(
    "start-apart",
    "the same, 50 ms after the one before: p50",
    Unit::Seconds,
    UNPINNED,
    &[
        here(OURS, starting::fork_apart),
        here("procspawn", procspawn::start_apart),
    ],
);

pub(super) const START_LARGE: Case = median(
    "start-large",
    "start, run, join, from a parent with 1 GiB of heap and 64 threads: p50",
    Unit::Seconds,
    UNPINNED,
    &[
        here(OURS, starting::fork_from_large),
        here("procession, exec", starting::exec_from_large),
        here("procspawn", procspawn::start_from_large),
    ],
);

pub(super) const START_RATE: Case = median(
    "start-rate",
    "processes started, run and joined a second, 16 at a time",
    Unit::PerSecond,
    UNPINNED,
    &[
        here(OURS, starting::fork_many),
        here("procession, exec", starting::exec_many),
    ],
);

pub(super) const START_HOLDS: Case = percentile_99(
    "start-holds",
    "how long a process's life holds the runtime's thread at a time, in its CPU time: p99",
    Unit::Seconds,
    UNPINNED,
    &[
        here(OURS, starting::fork_holds),
        here("procession, exec", starting::exec_holds),
    ],
);

pub(super) const REPLACE: Case = median(
    "replace",
    "from the kill of a pool's only worker to its successor's first result: p50",
    Unit::Seconds,
    UNPINNED,
    &[
        here(OURS, starting::fork_replacement),
        here("procession, exec", starting::exec_replacement),
    ],
);

pub(super) const PRELOAD_MEMORY: Case = median(
    "preload-memory",
    "1 GiB loaded once, 4 workers that have read it all, and their server: sum of PSS",
    Unit::Bytes,
    UNPINNED,
    &[here(OURS, starting::loaded_memory)],
);

pub(super) const PRELOAD_START: Case = median(
    "preload-start",
    "1 GiB loaded once: from the kill of the only worker to its successor's first result: p50",
    Unit::Seconds,
    UNPINNED,
    &[here(OURS, starting::loaded_replacement)],
);
