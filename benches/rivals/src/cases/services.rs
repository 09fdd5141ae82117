//! The cases of pools under services: limits, streams, cached arguments, metrics.

use super::{BOTH, Case, OURS, UNPINNED, here};
use crate::contenders::{channels, services};
use crate::figure::Unit;

pub(super) const CANCELLED_LOOP: Case = Case {
    name: "cancelled-loop",
    title: "from the cancellation of a loop in the only worker to the next task's result: p99",
    unit: Unit::Seconds,
    percentile: 99.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, services::dropped_loop),
        here("procession, timed out", services::timed_out_loop),
        here("procession, exec", services::dropped_loop_of_exec),
    ],
};

pub(super) const REFUSAL: Case = Case {
    name: "refusal",
    title: "tasks that a pool at its queue limit refuses: per second",
    unit: Unit::PerSecond,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, services::refused_tasks),
        here("procession, limit of bytes", services::refused_bytes),
    ],
};

pub(super) const QUEUED_MEMORY: Case = Case {
    name: "queued-memory",
    title: "100,000 queued tasks: PSS of each with 8 bytes of arguments, without its handle",
    unit: Unit::Bytes,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[here(OURS, services::queued_memory)],
};

pub(super) const QUEUED_SUBMIT: Case = Case {
    name: "queued-submit",
    title: "the last 10,000 of 100,000 submitted tasks against the first: CPU time",
    unit: Unit::Times,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[here(OURS, services::submission_growth)],
};

pub(super) const STREAMED_ITEM: Case = Case {
    name: "streamed-item",
    title: "64-byte items that a worker emits while it runs: items/s",
    unit: Unit::PerSecond,
    percentile: 50.0,
    pins: BOTH,
    contenders: &[
        here(OURS, services::streamed_items),
        here("procession's queue", channels::one_to_one),
    ],
};

pub(super) const CACHED_ARGUMENT: Case = Case {
    name: "cached-argument",
    title: "what 64 MiB as a cached argument add to a call, taken in turn with a call of none: p50",
    unit: Unit::Seconds,
    percentile: 50.0,
    pins: BOTH,
    contenders: &[here(OURS, services::cached_argument)],
};

pub(super) const METRICS: Case = Case {
    name: "metrics",
    title: "the metrics of a pool that 64 submitters use: p50",
    unit: Unit::Seconds,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, services::metrics),
        here("procession, workers()", services::workers),
    ],
};

pub(super) const METRICS_LOAD: Case = Case {
    name: "metrics-load",
    title: "64 submitters while the metrics are read 1,000 times a second: tasks/s",
    unit: Unit::PerSecond,
    percentile: 50.0,
    pins: UNPINNED,
    contenders: &[
        here(OURS, services::submitters_with_metrics),
        here("procession, metrics not read", services::submitters_alone),
    ],
};
