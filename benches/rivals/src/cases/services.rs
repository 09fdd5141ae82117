//! The cases of pools under services: limits, streams, cached arguments, metrics.

use super::{BOTH, Case, OURS, UNPINNED, here, median, percentile_99};
use crate::contenders::{channels, services};
use crate::figure::Unit;

pub(super) const CANCELLED_LOOP: Case = percentile_99(
    "cancelled-loop",
    "from the cancellation of a loop in the only worker to the next task's result: p99",
    Unit::Seconds,
    UNPINNED,
    &[
        here(OURS, services::dropped_loop),
        here("procession, timed out", services::timed_out_loop),
        here("procession, exec", services::dropped_loop_of_exec),
    ],
);

pub(super) const REFUSAL: Case = median(
    "refusal",
    "tasks that a pool at its queue limit refuses: per second",
    Unit::PerSecond,
    UNPINNED,
    &[
        here(OURS, services::refused_tasks),
        here("procession, limit of bytes", services::refused_bytes),
    ],
);

pub(super) const QUEUED_MEMORY: Case = median(
    "queued-memory",
    "100,000 queued tasks: PSS of each with 8 bytes of arguments, without its handle",
    Unit::Bytes,
    UNPINNED,
    &[here(OURS, services::queued_memory)],
);

pub(super) const QUEUED_SUBMIT: Case = median(
    "queued-submit",
    "the last 10,000 of 100,000 submitted tasks against the first: CPU time",
    Unit::Times,
    UNPINNED,
    &[here(OURS, services::submission_growth)],
);

pub(super) const STREAMED_ITEM: Case = median(
    "streamed-item",
    "64-byte items that a worker emits while it runs: items/s",
    Unit::PerSecond,
    BOTH,
    &[
        here(OURS, services::streamed_items),
        here("procession's queue", channels::one_to_one),
    ],
);

pub(super) const CACHED_ARGUMENT: Case = median(
    "cached-argument",
    "what 64 MiB as a cached argument add to a call, taken in turn with a call of none: p50",
    Unit::Seconds,
    BOTH,
    &[here(OURS, services::cached_argument)],
);

pub(super) const METRICS: Case = median(
    "metrics",
    "the metrics of a pool that 64 submitters use: p50",
    Unit::Seconds,
    UNPINNED,
    &[
        here(OURS, services::metrics),
        here("procession, workers()", services::workers),
    ],
);

pub(super) const METRICS_LOAD: Case = median(
    "metrics-load",
    "64 submitters while the metrics are read 1,000 times a second: tasks/s",
    Unit::PerSecond,
    UNPINNED,
    &[
        here(OURS, services::submitters_with_metrics),
        here("procession, metrics not read", services::submitters_alone),
    ],
);
