//! Everything at once: calls of every kind, with every option, in pools of every kind, while workers are killed.

use std::time::{Duration, Instant};

use crate::leftovers::alone;
use crate::round::round;
use crate::settings::Settings;
use crate::{Random, seconds, seed};

async fn rounds() {
    let end = Instant::now() + seconds();
    let mut seeds = Random::new(seed());
    while Instant::now() < end {
        let settings = Settings::random(seeds.below(1 << 40));
        round(settings, Duration::from_millis(200 + seeds.below(800))).await;
    }
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_all_kinds_end_as_they_should_and_leave_nothing() {
    alone(
        "mix::calls_of_all_kinds_end_as_they_should_and_leave_nothing",
        rounds(),
    )
    .await;
}

#[procession::test]
async fn calls_of_all_kinds_on_one_thread_end_as_they_should_and_leave_nothing() {
    alone(
        "mix::calls_of_all_kinds_on_one_thread_end_as_they_should_and_leave_nothing",
        rounds(),
    )
    .await;
}
