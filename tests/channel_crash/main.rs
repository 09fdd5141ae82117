//! Processes are killed and stopped at random moments while they send and receive: nothing torn is received,
//! nothing is lost but what the killed had in their hands, and nobody hangs.
//!
//! `PROCESSION_SOAK_SECONDS` says for how long; by default it is short.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

#[path = "../deadline/mod.rs"]
mod deadline;
#[path = "../leftovers/mod.rs"]
mod leftovers;
#[path = "../notes/mod.rs"]
mod notes;

mod closed;
mod crowd;
mod half_written;
mod log;
mod message;
mod pipe_killed;
mod pipe_waiters;
mod queue_killed;
mod random;
mod stopped;
mod tasks;
mod watchdog;

/// How long each of the soaks goes on.
pub(crate) fn soak() -> Duration {
    let seconds = std::env::var("PROCESSION_SOAK_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(4.0);
    Duration::from_secs_f64(seconds / 4.0)
}
