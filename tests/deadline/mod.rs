//! Every wait of a test ends: with what it waited for, or with a failure that says where it waited.
//!
//! The limit is no measurement. It is far beyond what a loaded machine needs, so that only what
//! never happens runs into it; what has a limit of its own is given that one.

#![allow(dead_code, reason = "no test file needs all of it")]

use std::panic::Location;
use std::time::{Duration, Instant};

/// Long enough for anything that happens at all, on a machine that does other things too.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Between two looks at something that tells nobody when it changes.
const LOOK: Duration = Duration::from_millis(2);

/// Awaits `future`; panics if it does not resolve.
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
            Err(_) => panic!("what {place} waits for did not happen in {limit:?}"),
        }
    }
}

/// Looks until `condition` holds; panics if it never does.
#[track_caller]
pub(crate) fn until(condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    until_limit(LIMIT, condition)
}

/// Looks until `condition` holds; panics if it does not in `limit`.
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
                "what {place} waits for did not come true in {limit:?}"
            );
            tokio::time::sleep(LOOK).await;
        }
    }
}
