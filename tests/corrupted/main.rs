//! Corrupted workers: they write anything into all memory and descriptors that they share with the application. A
//! corrupted worker fails its own task and is killed. No other call notices, and the application continues.
//!
//! `PROCESSION_SOAK_SECONDS` is the duration of the random tests (2 by default).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../deadline/mod.rs"]
mod deadline;
#[path = "../leftovers/mod.rs"]
mod leftovers;

mod channels;
mod descriptors;
mod forged;
mod memory;
mod random;
mod shared;

use std::time::Duration;

use procession::Pool;

/// The duration of a random test.
pub(crate) fn soak_time() -> Duration {
    let seconds = std::env::var("PROCESSION_SOAK_SECONDS").ok();
    Duration::from_secs(seconds.and_then(|it| it.parse().ok()).unwrap_or(2))
}

/// A pool in which every worker was seen to work.
pub(crate) async fn working_pool(workers: usize) -> Pool {
    let pool = Pool::with_workers(workers).unwrap();
    let numbers = deadline::within(pool.map(double, 0..100_u64))
        .await
        .unwrap();
    assert_eq!(numbers[7], 14);
    pool
}

pub(crate) fn double(n: u64) -> u64 {
    2 * n
}
