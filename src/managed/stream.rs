//! A call of a state whose function gives items while it runs.
//!
//! The items go straight from the state's process to the process that reads them, through a channel of their own; the
//! call goes the way of any call.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use futures::stream::FusedStream;
use serde::de::DeserializeOwned;

use super::call::ManagedCall;
use super::handle::ManagedHandle;
use crate::error::JoinError;
use crate::pool::{Emit, ItemStream};
use crate::task;
use crate::task::Call;

/// The items of a function over a [`Managed`](crate::Managed) state. Made by
/// [`Managed::stream`](crate::Managed::stream).
///
/// The function is submitted when the stream is first polled. The stream gives what the function sends with
/// [`Emit`](crate::Emit), in order, and ends when the function has returned. If the function fails, everything it has
/// sent comes first, and then the failure, as the last item.
///
/// The function has the state until it ends. Calls and reads wait, also while it waits for its reader, which is so when
/// the reader is [`buffer`](ManagedStream::buffer) items behind.
///
/// Dropping the stream stops the function. A function that waits for its turn is removed. A running function ends where
/// it sends its next item, by unwinding. The state stays as the function has left it, and its process lives on. A
/// function that sends nothing more runs to its end; so does each function of a program that is built with
/// `panic = "abort"`.
///
/// # Errors
///
/// A [`JoinError`] of any [`kind`](JoinError::kind), as those of a [`TaskStream`](crate::TaskStream).
///
/// # Cancel safety
///
/// Cancel safe: dropping the future of `next` loses no item.
#[must_use = "a stream does nothing until it is read"]
pub struct ManagedStream<T>(ItemStream<T, ManagedCall<()>, ()>);

impl<T> ManagedStream<T> {
    /// The stream of a call of `C`, whose arguments `arguments` makes of the sending end.
    pub(super) fn new<C>(
        handle: ManagedHandle,
        arguments: impl FnOnce(Emit<T>) -> C::Args + Send + 'static,
    ) -> Self
    where
        C: Call<Output = ()>,
    {
        Self(ItemStream::new(C::name(), (), move |emit, ()| {
            handle.submit::<StreamOver<C>>(arguments(emit))
        }))
    }

    /// Sets how many items the function may be ahead of the reader (minimum 1). By default 64.
    pub fn buffer(mut self, items: usize) -> Self {
        self.0.set_buffer(items);
        self
    }
}

impl<T: DeserializeOwned + Send + 'static> Stream for ManagedStream<T> {
    type Item = Result<T, JoinError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next(cx)
    }
}

impl<T: DeserializeOwned + Send + 'static> FusedStream for ManagedStream<T> {
    fn is_terminated(&self) -> bool {
        self.0.is_over()
    }
}

impl<T> Unpin for ManagedStream<T> {}

impl<T> fmt::Debug for ManagedStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedStream")
            .field("task", &self.0.name())
            .field("stage", &self.0.stage())
            .finish_non_exhaustive()
    }
}

/// As `C`, and it ends with its stream.
struct StreamOver<C>(PhantomData<C>);

impl<C: Call<Output = ()>> Call for StreamOver<C> {
    type Args = C::Args;
    type Output = ();

    fn name() -> &'static str {
        C::name()
    }

    fn call(arguments: C::Args) {
        task::until_stream_ends(|| C::call(arguments));
    }
}
