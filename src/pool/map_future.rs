//! A map's results, all together.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::map::Map;
use crate::error::JoinError;

/// All results of a [`Map`], or its first failure.
///
/// # Cancel safety
///
/// Dropping it cancels every item that has no outcome.
#[must_use = "a map does nothing until it is awaited"]
pub struct MapFuture<'a, R> {
    map: Map<'a, R>,
    results: Vec<R>,
}

impl<'a, R> IntoFuture for Map<'a, R> {
    type Output = Result<Vec<R>, JoinError>;
    type IntoFuture = MapFuture<'a, R>;

    fn into_future(self) -> MapFuture<'a, R> {
        MapFuture::new(self)
    }
}

impl<R> Unpin for MapFuture<'_, R> {}

impl<'a, R> MapFuture<'a, R> {
    pub(super) fn new(map: Map<'a, R>) -> Self {
        Self {
            map,
            results: Vec::new(),
        }
    }

    /// Collects results up to the end, or to the first failure in the order of the input.
    fn poll_collect(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(stretch) = ready!(self.map.poll_stretch(cx)) {
            self.map.given += stretch.len();
            for outcome in stretch {
                match outcome {
                    Ok(result) => self.results.push(result),
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
        let this = &mut *self;
        let collected = this.poll_collect(cx);
        // Looked at last: a failure that comes later wakes this.
        if let Some(failure) = this.map.gather.failure() {
            this.map.cancel();
            return Poll::Ready(Err(failure));
        }
        collected.map(|()| Ok(std::mem::take(&mut this.results)))
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
