//! Collects the results of a map into one vector.
//!
//! Runs in the parent, in the task that awaits the map.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project::pin_project;

use super::map::Map;
use crate::error::JoinError;

/// Resolves to all results of a [`Map`] in the order of its input, or to its first failure.
///
/// See [`Map`] for how the input is read. A failure cancels all items that have no outcome.
///
/// # Errors
///
/// The first failure of any item, in the order of time.
///
/// # Cancel safety
///
/// Dropping it cancels every item that has no outcome. Awaiting `&mut future` in a `select!` that another branch
/// wins loses nothing.
#[must_use = "a map does nothing until it is awaited"]
#[pin_project]
pub struct MapFuture<'a, R> {
    #[pin]
    map: Map<'a, R>,
    results: Vec<R>,
}

impl<R> MapFuture<'_, R> {
    /// Collects results until the end, or until the first failure in the order of the input.
    fn poll_collect(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        while let Some(span) = ready!(this.map.as_mut().poll_span(cx)) {
            for outcome in span {
                match outcome {
                    Ok(result) => this.results.push(result),
                    Err(_) => return Poll::Ready(()),
                }
            }
        }
        Poll::Ready(())
    }
}

impl<R> Future for MapFuture<'_, R> {
    type Output = Result<Vec<R>, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let collected = self.as_mut().poll_collect(cx);
        let this = self.project();
        // Read after collecting: a later failure wakes this future.
        if let Some(failure) = this.map.failure() {
            this.map.cancel();
            return Poll::Ready(Err(failure));
        }
        collected.map(|()| Ok(std::mem::take(this.results)))
    }
}

impl<'a, R> IntoFuture for Map<'a, R> {
    type Output = Result<Vec<R>, JoinError>;
    type IntoFuture = MapFuture<'a, R>;

    fn into_future(self) -> MapFuture<'a, R> {
        MapFuture {
            map: self,
            results: Vec::new(),
        }
    }
}

impl<R> fmt::Debug for MapFuture<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapFuture")
            .field("map", &self.map)
            .field("results", &self.results.len())
            .finish()
    }
}
