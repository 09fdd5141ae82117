//! Collects every outcome of a map.
//!
//! Runs in the parent, in the task that awaits the map.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project::pin_project;

use super::map::Map;
use crate::error::JoinError;

/// Resolves to every outcome of a [`Map`] in the order of its input. Made by [`Map::collect_all`].
///
/// A failure ends nothing: the other items run all the same.
///
/// # Cancel safety
///
/// Dropping it cancels every item that has no outcome. Awaiting `&mut future` in a `select!` that another branch wins
/// loses nothing.
#[must_use = "a map does nothing until it is awaited"]
#[pin_project]
pub struct CollectAll<'a, R> {
    #[pin]
    map: Map<'a, R>,
    outcomes: Vec<Result<R, JoinError>>,
}

impl<'a, R> Map<'a, R> {
    /// Awaits every outcome, in the order of the input.
    ///
    /// A failed item ends nothing, and no item is cancelled. After [`Map::unordered`], too, the outcomes are in the
    /// order of the input.
    ///
    /// ```
    /// # #[procession::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = procession::Pool::with_workers(2)?;
    /// let quotients = pool.map(|a: u32, b: u32| a / b, [(6, 2), (1, 0), (9, 3)]);
    /// let outcomes = quotients.collect_all().await;
    /// assert_eq!(outcomes[0].as_ref().ok(), Some(&3));
    /// assert!(outcomes[1].as_ref().is_err_and(|error| error.is_panic()));
    /// assert_eq!(outcomes[2].as_ref().ok(), Some(&3));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "gather")]
    #[doc(alias = "return_exceptions")]
    pub fn collect_all(self) -> CollectAll<'a, R> {
        CollectAll {
            map: self.in_order(),
            outcomes: Vec::new(),
        }
    }
}

impl<R> Future for CollectAll<'_, R> {
    type Output = Vec<Result<R, JoinError>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        while let Some(span) = ready!(this.map.as_mut().poll_span(cx)) {
            this.outcomes.extend(span);
        }
        Poll::Ready(std::mem::take(this.outcomes))
    }
}

impl<R> fmt::Debug for CollectAll<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectAll")
            .field("map", &self.map)
            .field("outcomes", &self.outcomes.len())
            .finish()
    }
}
