//! A call of a pool whose function gives items while it runs.
//!
//! Runs in the parent, in the task that reads the stream. The function is a call like any other ([`Run`]); its items,
//! and their order with its outcome, are those of `item_stream`.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use futures::stream::FusedStream;
use serde::de::DeserializeOwned;

use super::emit::Emit;
use super::item_stream::ItemStream;
use super::run::Run;
use crate::call::single::Single;
use crate::error::JoinError;
use crate::pool::options::shared_options::SharedOptions;
use crate::pool::pool_guard::PoolGuard;
use crate::schedule::{AffinityKey, Priority};
use crate::task::Call;

/// The items of a function that runs in one of a pool's workers. Made by [`Pool::stream`](crate::Pool::stream).
///
/// The function is submitted to the pool when the stream is first polled. The stream gives what the function sends with
/// [`Emit`](crate::Emit), in order, and ends when the function has returned. A function that sends faster than the
/// stream is read waits in its worker, see [`TaskStream::buffer`].
///
/// If the function fails, everything it has sent comes first, also if its worker was killed. Then comes the failure, as
/// the last item. A stream never runs its function twice: [`retries`](crate::PoolBuilder::retries) does not apply,
/// because items were given already. A function that had not started is run by another worker, as any call.
///
/// Dropping the stream stops the function as dropping a [`Run`](crate::Run) does: a waiting function is removed; the
/// worker of a running one is killed, unless the function returns within the pool's
/// [`cancel_grace`](crate::PoolBuilder::cancel_grace). [`Pool::shutdown`](crate::Pool::shutdown) waits for the end of a
/// stream that has begun, and so for its reader.
///
/// # Errors
///
/// A [`JoinError`] of any [`kind`](JoinError::kind). [`ErrorKind::Encode`](crate::ErrorKind::Encode): an item could not
/// be serialised. [`ErrorKind::Decode`](crate::ErrorKind::Decode): an item could not be deserialised here; the function
/// is stopped. [`ErrorKind::Spawn`](crate::ErrorKind::Spawn): there is no descriptor or memory left for the channel of
/// the items.
///
/// # Cancel safety
///
/// Cancel safe: dropping the future of `next` loses no item.
///
/// ```
/// use futures::StreamExt;
/// use procession::{Emit, Pool};
///
/// async fn count(emit: Emit<u32>, to: u32) {
///     for n in 0..to {
///         emit.send(n).await;
///     }
/// }
///
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::with_workers(1)?;
/// let mut numbers = pool.stream(count, 3);
/// while let Some(n) = numbers.next().await {
///     println!("{}", n?);
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "a stream does nothing until it is read"]
pub struct TaskStream<T>(ItemStream<T, Run<()>, SharedOptions>);

impl<T> TaskStream<T> {
    /// The stream of a call of `C`, whose arguments `arguments` makes of the sending end.
    pub(in crate::pool) fn new<C>(
        guard: &Arc<PoolGuard>,
        options: SharedOptions,
        arguments: impl FnOnce(Emit<T>) -> C::Args + Send + 'static,
    ) -> Self
    where
        C: Call<Output = ()>,
    {
        let guard = Arc::clone(guard);
        let mut options = options;
        if options.retries > 0 {
            options.retries = 0;
        }
        Self(ItemStream::new(C::name(), options, move |emit, options| {
            let call = Single::<C>::new(arguments(emit));
            Run::new(&guard, Arc::new(call), options)
        }))
    }

    /// Sets how many items the function may be ahead of the reader (minimum 1). By default 64.
    ///
    /// When so many items wait to be read, [`Emit::send`](crate::Emit::send) waits. A function that waits there is not
    /// subject to the [`progress_timeout`](TaskStream::progress_timeout), but to the [`timeout`](TaskStream::timeout).
    pub fn buffer(mut self, items: usize) -> Self {
        self.0.set_buffer(items);
        self
    }

    /// Limits how long the function may run, its waits for the reader of the stream included.
    ///
    /// As [`Run::timeout`](crate::Run::timeout).
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.0.options.timeout = Some(limit);
        self
    }

    /// Limits how long the function may run without progress.
    ///
    /// Progress is an item that was sent, and a call of [`task::alive`](crate::task::alive). As
    /// [`Run::progress_timeout`](crate::Run::progress_timeout).
    pub fn progress_timeout(mut self, limit: Duration) -> Self {
        self.0.options.progress_timeout = Some(limit);
        self
    }

    /// Limits how long the function may wait before it starts. As [`Run::queue_timeout`](crate::Run::queue_timeout).
    pub fn queue_timeout(mut self, limit: Duration) -> Self {
        self.0.options.queue_timeout = Some(limit);
        self
    }

    /// Sends the function to the worker that last had the same key, if that is free soon. As
    /// [`Run::key`](crate::Run::key).
    pub fn key(mut self, key: impl std::hash::Hash) -> Self {
        self.0.options.key = Some(AffinityKey::of(&key));
        self
    }

    /// Sets whether the function goes before or after other waiting tasks. By default [`Priority::Normal`].
    pub fn priority(mut self, priority: Priority) -> Self {
        self.0.options.priority = priority;
        self
    }
}

impl<T: DeserializeOwned + Send + 'static> Stream for TaskStream<T> {
    type Item = Result<T, JoinError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next(cx)
    }
}

impl<T: DeserializeOwned + Send + 'static> FusedStream for TaskStream<T> {
    fn is_terminated(&self) -> bool {
        self.0.is_over()
    }
}

impl<T> Unpin for TaskStream<T> {}

impl<T> fmt::Debug for TaskStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskStream")
            .field("task", &self.0.name())
            .field("stage", &self.0.stage())
            .finish_non_exhaustive()
    }
}
