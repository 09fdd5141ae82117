//! `Pool` through its public interface: one file for each topic.
//!
//! This file has what several topics use.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../asleep/mod.rs"]
mod asleep;
#[path = "../deadline/mod.rs"]
mod deadline;
#[path = "../executor/mod.rs"]
mod executor;
#[path = "../leftovers/mod.rs"]
mod leftovers;
#[path = "../notes/mod.rs"]
mod notes;
#[path = "../pools/mod.rs"]
mod pools;
#[path = "../tasks/mod.rs"]
mod tasks;

mod breaker;
mod broadcast;
mod cached;
mod cancel;
mod descriptors;
mod drop;
mod elastic;
mod events;
mod every_name;
mod executor_free;
mod flow_mix;
mod forking_task;
mod grace;
mod initializer;
mod initializer_errors;
mod key;
mod late_arguments;
mod late_drop;
mod lease;
mod many;
mod map;
mod metrics;
mod options;
mod output;
mod priority;
mod progress_timeout;
mod queue_limit;
mod queue_timeout;
mod recycling;
mod reentrance;
mod reserve;
mod retry;
mod run;
mod runtimes;
mod scratch;
mod seed;
mod shutdown;
mod sight;
mod start_limits;
mod start_shortage;
mod stopped_application_end;
mod stream;
mod surroundings;
mod task_set;
mod tasks_per_worker;
mod timeout;
mod traceparent;
mod values;
mod worker_crash;
mod worker_exit_function;
mod worker_killed;
mod worker_replaced;
mod worker_stopped;
mod workers;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use procession::{ErrorKind, JoinError, Pool};
use serde_bytes::ByteBuf;

use crate::deadline::within;
use crate::notes::Notes;

/// A limit that no test reaches.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// A limit that a test can wait for.
pub(crate) const SHORT: Duration = Duration::from_millis(50);

pub(crate) fn add(a: u64, b: u64) -> u64 {
    a + b
}

pub(crate) fn kinds<R>(outcomes: &[Result<R, JoinError>]) -> Vec<Option<ErrorKind>> {
    let kind = |outcome: &Result<R, JoinError>| outcome.as_ref().err().map(JoinError::kind);
    outcomes.iter().map(kind).collect()
}

pub(crate) fn echo(bytes: ByteBuf) -> ByteBuf {
    bytes
}

pub(crate) fn made(byte: u8, len: usize) -> ByteBuf {
    ByteBuf::from(vec![byte; len])
}

/// Runs many short tasks, after which the pool prefetches many tasks into each worker.
pub(crate) async fn run_short_tasks(pool: &Pool) {
    for _ in 0..20 {
        let runs = (0..100_u64).map(|n| pool.run(|n: u64| n, n));
        within(join_all(runs)).await;
    }
}

/// Asserts that the lines under `name` are the numbers below `count`, each once.
pub(crate) fn assert_once_each(notes: &Notes, name: &str, count: usize) {
    let mut counts = BTreeMap::<usize, usize>::new();
    for line in notes.read(name) {
        *counts.entry(line.parse().unwrap()).or_default() += 1;
    }
    let expected: BTreeMap<_, _> = (0..count).map(|n| (n, 1)).collect();
    assert_eq!(counts, expected);
}
