//! Waits of a test that end in any case: with the awaited event, or with a panic that names the place of
//! the wait.
//!
//! The limit is not a measurement. It is far longer than a loaded machine needs, so that only an event
//! that never happens exceeds it. Where the time itself is tested, the test gives a limit of its own.

#![allow(dead_code, reason = "no test file needs all of it")]

use std::panic::Location;
use std::time::{Duration, Instant};

/// Enough for every event of a test on a machine that runs other programs too: with twenty processes on each processor,
/// some tests have taken longer than half a minute. A build that checks each access of memory is several times as slow:
/// it sets the variable.
pub(crate) const LIMIT: Duration = match option_env!("PROCESSION_TESTS_ARE_SLOW") {
    Some(_) => Duration::from_secs(300),
    None => Duration::from_secs(120),
};

/// How long `until` sleeps between two evaluations of its condition.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Awaits `future`; panics if it does not resolve in [`LIMIT`].
#[track_caller]
pub(crate) fn within<F: IntoFuture>(future: F) -> impl Future<Output = F::Output> {
    within_limit(LIMIT, future)
}

/// Awaits `future`; panics if it does not resolve in `limit`.
#[track_caller]
pub(crate) fn within_limit<F: IntoFuture>(
    limit: Duration,
    future: F,
) -> impl Future<Output = F::Output> {
    let place = Location::caller();
    let future = future.into_future();
    async move {
        match tokio::time::timeout(limit, future).await {
            Ok(output) => output,
            Err(_) => panic!("the future awaited at {place} did not resolve in {limit:?}"),
        }
    }
}

/// Waits until `condition` holds; panics if it does not in [`LIMIT`].
#[track_caller]
pub(crate) fn until(condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    until_limit(LIMIT, condition)
}

/// Waits until `condition` holds; panics if it does not in `limit`.
#[track_caller]
pub(crate) fn until_limit(
    limit: Duration,
    mut condition: impl FnMut() -> bool,
) -> impl Future<Output = ()> {
    let place = Location::caller();
    async move {
        let end = Instant::now() + limit;
        while !condition() {
            assert!(
                Instant::now() < end,
                "the condition at {place} did not come true in {limit:?}"
            );
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}
