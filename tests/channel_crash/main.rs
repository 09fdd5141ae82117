//! Processes are killed and stopped at random moments while they send and receive. No torn message is received, a
//! killed process loses at most the message it was receiving, and no other process hangs.
//!
//! `PROCESSION_SOAK_SECONDS` sets the duration: most tests run for a quarter of it, a second by default.
//! `PROCESSION_SEED` repeats the random numbers of a run that printed it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

#[path = "../asleep/mod.rs"]
mod asleep;
#[path = "../deadline/mod.rs"]
mod deadline;
#[path = "../leftovers/mod.rs"]
mod leftovers;
#[path = "../notes/mod.rs"]
mod notes;

mod close;
mod half_written;
mod log;
mod message;
mod pipe_killed;
mod pipe_waiters;
mod processes;
mod queue_killed;
mod random;
mod spilled;
mod stopped;
mod tasks;
mod watchdog;

/// For how long a test repeats its rounds.
pub(crate) fn soak() -> Duration {
    let seconds = std::env::var("PROCESSION_SOAK_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(4.0);
    Duration::from_secs_f64(seconds / 4.0)
}
