//! Locks and other means of waiting, between processes that are killed at any moment. One file for each type.
//!
//! `PROCESSION_SOAK_SECONDS` is the duration of the random tests (2 by default).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "arguments of tasks are owned values"
)]

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

mod barrier;
mod condvar;
mod event;
mod every_moment;
mod every_step;
mod full_table;
mod mutex;
mod mutex_killed;
mod once;
mod overwritten;
mod permits_killed;
mod rwlock;
mod semaphore;
mod torn;
mod travel;

use std::time::Duration;

/// How long a random test takes.
pub(crate) fn seconds() -> Duration {
    let given = std::env::var("PROCESSION_SOAK_SECONDS").ok();
    Duration::from_secs_f64(given.and_then(|it| it.parse().ok()).unwrap_or(2.0))
}
