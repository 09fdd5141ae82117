//! Workers and the application are killed at every moment. Each task has exactly one outcome, the right one, and
//! nothing is left.
//!
//! `PROCESSION_SOAK_SECONDS` is the duration (3 by default). With the `PROCESSION_SOAK_SEED` of an earlier run the
//! tests take the same random decisions.

#![allow(
    clippy::print_stdout,
    reason = "the seed of a failed run is needed to repeat it"
)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../deadline/mod.rs"]
mod deadline;
#[path = "../leftovers/mod.rs"]
mod leftovers;
#[path = "../notes/mod.rs"]
mod notes;
#[path = "../pools/mod.rs"]
mod pools;

mod bulk_calls;
mod call;
mod causes;
mod client;
mod faults;
mod ledger;
mod mix;
mod operations;
mod parent;
mod round;
mod settings;
mod step_by_step;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a test under load takes.
pub(crate) fn seconds() -> Duration {
    let given = std::env::var("PROCESSION_SOAK_SECONDS").ok();
    Duration::from_secs_f64(given.and_then(|it| it.parse().ok()).unwrap_or(3.0))
}

/// The seed of this run, which is printed.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("PROCESSION_SOAK_SEED").ok();
    let given = given.and_then(|it| it.parse().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = given.unwrap_or_else(|| now().as_nanos() as u64);
    println!("PROCESSION_SOAK_SEED={seed}");
    seed
}

/// Pseudo-random numbers (xorshift, Marsaglia 2003).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// A random value in one of `count` cases.
    pub(crate) fn maybe<T>(&mut self, count: u64, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.one_in(count).then(|| value(self))
    }

    pub(crate) fn micros(&mut self, limit: u64) -> Duration {
        Duration::from_micros(self.below(limit))
    }
}

/// Computes for this time.
pub(crate) fn spin(span: Duration) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// The number of steps of a fault loop, which grows with the duration.
pub(crate) fn steps() -> u32 {
    (seconds().as_secs_f64() * 40.0) as u32
}
