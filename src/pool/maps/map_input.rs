//! The input of a map: an iterator or a stream, read in batches.
//!
//! Runs in the parent, when the map is polled. Must stay true: a stream is polled only when there is room for
//! an item. Never here: how many items to read, which `read_ahead` decides.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::stream::Fuse;
use futures::{Stream, StreamExt as _};
use pin_project::pin_project;

use super::map_batch::Batch;
use super::map_results::MapResults;
use crate::call::job::Job;
use crate::task::{Call, Task};

/// An input whose item type is erased. `R` is the result of the map's function.
pub(in crate::pool) trait MapInput<R> {
    /// Reads at most `most` items and makes them one job; the first of them is item `first` of the map. `None`
    /// at the end of the input.
    fn poll_batch(
        self: Pin<&mut Self>,
        first: usize,
        most: usize,
        results: &Arc<MapResults<R>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Arc<dyn Job>>>;

    /// The number of items left, if the input knows it exactly.
    fn exact_len(&self) -> Option<usize>;
}

/// The function of a map, which is a type without a value.
type Function<F, M> = PhantomData<fn() -> (F, M)>;

/// The arguments that function `F` makes of an item.
type ArgsOf<F, M, A> = <<F as Task<M, A>>::Call as Call>::Args;

#[pin_project]
pub(in crate::pool) struct IteratorInput<I, F, M> {
    items: I,
    function: Function<F, M>,
}

impl<I, F, M> IteratorInput<I, F, M> {
    pub(in crate::pool) fn new(items: I) -> Self {
        Self {
            items,
            function: PhantomData,
        }
    }
}

impl<I, F, M> MapInput<F::Output> for IteratorInput<I, F, M>
where
    I: Iterator,
    F: Task<M, I::Item>,
{
    fn poll_batch(
        self: Pin<&mut Self>,
        first: usize,
        most: usize,
        results: &Arc<MapResults<F::Output>>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Arc<dyn Job>>> {
        let items = self.project().items.by_ref().take(most);
        let arguments = items.map(F::arguments).collect();
        Poll::Ready(batch::<F, M, I::Item>(first, arguments, results))
    }

    fn exact_len(&self) -> Option<usize> {
        exact(self.items.size_hint())
    }
}

#[pin_project]
pub(in crate::pool) struct StreamInput<S, F, M> {
    #[pin]
    items: Fuse<S>,
    function: Function<F, M>,
}

impl<S: Stream, F, M> StreamInput<S, F, M> {
    pub(in crate::pool) fn new(items: S) -> Self {
        Self {
            items: items.fuse(),
            function: PhantomData,
        }
    }
}

impl<S, F, M> MapInput<F::Output> for StreamInput<S, F, M>
where
    S: Stream,
    F: Task<M, S::Item>,
{
    fn poll_batch(
        self: Pin<&mut Self>,
        first: usize,
        most: usize,
        results: &Arc<MapResults<F::Output>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Arc<dyn Job>>> {
        let mut items = self.project().items;
        let mut arguments = Vec::new();
        while arguments.len() < most {
            match items.as_mut().poll_next(cx) {
                Poll::Ready(Some(item)) => arguments.push(F::arguments(item)),
                Poll::Pending if arguments.is_empty() => return Poll::Pending,
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Poll::Ready(batch::<F, M, S::Item>(first, arguments, results))
    }

    fn exact_len(&self) -> Option<usize> {
        exact(self.items.size_hint())
    }
}

/// The job of these items; `None` if there are none.
fn batch<F, M, A>(
    first: usize,
    arguments: Vec<ArgsOf<F, M, A>>,
    results: &Arc<MapResults<F::Output>>,
) -> Option<Arc<dyn Job>>
where
    F: Task<M, A>,
{
    if arguments.is_empty() {
        return None;
    }
    let batch = Batch::<F::Call>::new(first, arguments, Arc::clone(results));
    Some(Arc::new(batch))
}

fn exact((least, most): (usize, Option<usize>)) -> Option<usize> {
    most.filter(|most| *most == least)
}
