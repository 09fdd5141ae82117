//! A call whose function gives items while it runs.
//!
//! Runs in the parent, in the task that reads the stream. The function is a call like any other ([`Run`]). Its first
//! argument is the sending end of a channel, whose receiving end is here. When the call has its outcome, everything the
//! function has sent is in the channel: the channel is closed, read to its end, and only then comes the outcome.
//!
//! Must stay true: a failure is the last item; a dropped stream leaves no task behind; a worker that never stops
//! sending does not delay the end.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use futures::stream::FusedStream;
use serde::de::DeserializeOwned;

use super::emit::Emit;
use super::run::Run;
use crate::call::single::{Awaited, Single};
use crate::channel;
use crate::channel::{Flavor as _, MOST_MESSAGES, Mpmc, RecvError, Rx, Waiter};
use crate::error::{ErrorKind, JoinError};
use crate::pool::options::call_options::CallOptions;
use crate::pool::pool_guard::PoolGuard;
use crate::schedule::{AffinityKey, Priority};
use crate::task::Call;

/// How many items a function may be ahead of its reader, unless the stream says otherwise.
const BUFFER: usize = 64;

/// How many items may have left the channel, when it is closed, and not have been given.
const BEING_DECODED: usize = 2;

/// The items of a function that runs in one of a pool's workers. Made by [`Pool::stream`](crate::Pool::stream).
///
/// The function is submitted to the pool when the stream is first polled. The stream gives what the function sends with
/// [`Emit`](crate::Emit), in order, and ends when the function has returned. A function that sends faster than the stream
/// is read waits in its worker, see [`TaskStream::buffer`].
///
/// If the function fails, everything it has sent comes first, also if its worker was killed. Then comes the failure, as
/// the last item. A stream never runs its function twice: [`retries`](crate::PoolBuilder::retries) does not apply, because
/// items were given already. A function that had not started is run by another worker, as any call.
///
/// Dropping the stream stops the function as dropping a [`Run`](crate::Run) does: a waiting function is removed; the
/// worker of a running one is killed, unless the function returns within the pool's
/// [`cancel_grace`](crate::PoolBuilder::cancel_grace). [`Pool::shutdown`](crate::Pool::shutdown) waits for the end of a
/// stream that has begun, and so for its reader.
///
/// # Errors
///
/// A [`JoinError`] of any [`kind`](JoinError::kind). [`ErrorKind::Encode`]: an item could not be serialised.
/// [`ErrorKind::Decode`]: an item could not be deserialised here; the function is stopped. [`ErrorKind::Spawn`]: there is
/// no descriptor or memory left for the channel of the items.
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
pub struct TaskStream<T> {
    guard: Arc<PoolGuard>,
    name: &'static str,
    options: CallOptions,
    buffer: usize,
    stage: StreamStage<T>,
}

/// Makes the call, once there is an end to send items through.
type MakeCall<T> = Box<dyn FnOnce(Emit<T>) -> Arc<dyn Awaited<()>> + Send>;

enum StreamStage<T> {
    New(MakeCall<T>),
    /// The call has no outcome. There are no items once the function has dropped its end.
    Running(Box<Run<()>>, Option<Items<T>>),
    /// The call has its outcome, which comes after the items that are left.
    Ended(Result<(), JoinError>, Option<Items<T>>),
    Over,
}

/// The receiving end of the items.
struct Items<T> {
    rx: Rx<T, Mpmc>,
    waiter: Waiter,
    /// How many more may come. A bound, because a worker may ignore that the channel was closed.
    left: usize,
}

impl<T> TaskStream<T> {
    /// The stream of a call of `C`, whose arguments `arguments` makes of the sending end.
    pub(in crate::pool) fn new<C>(
        guard: &Arc<PoolGuard>,
        options: CallOptions,
        arguments: impl FnOnce(Emit<T>) -> C::Args + Send + 'static,
    ) -> Self
    where
        C: Call<Output = ()>,
    {
        Self {
            guard: Arc::clone(guard),
            name: C::name(),
            options: CallOptions {
                retries: 0,
                ..options
            },
            buffer: BUFFER,
            stage: StreamStage::New(Box::new(move |emit| {
                Arc::new(Single::<C>::new(arguments(emit)))
            })),
        }
    }

    /// Sets how many items the function may be ahead of the reader (minimum 1). By default 64.
    ///
    /// When so many items wait to be read, [`Emit::send`](crate::Emit::send) waits. A function that waits there is not
    /// subject to the [`progress_timeout`](TaskStream::progress_timeout), but to the [`timeout`](TaskStream::timeout).
    pub fn buffer(mut self, items: usize) -> Self {
        self.buffer = items.clamp(1, MOST_MESSAGES);
        self
    }

    /// Limits how long the function may run, its waits for the reader of the stream included.
    ///
    /// As [`Run::timeout`](crate::Run::timeout).
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.options.timeout = Some(limit);
        self
    }

    /// Limits how long the function may run without progress.
    ///
    /// Progress is an item that was sent, and a call of [`task::alive`](crate::task::alive). As
    /// [`Run::progress_timeout`](crate::Run::progress_timeout).
    pub fn progress_timeout(mut self, limit: Duration) -> Self {
        self.options.progress_timeout = Some(limit);
        self
    }

    /// Limits how long the function may wait before it starts. As [`Run::queue_timeout`](crate::Run::queue_timeout).
    pub fn queue_timeout(mut self, limit: Duration) -> Self {
        self.options.queue_timeout = Some(limit);
        self
    }

    /// Sends the function to the worker that last had the same key, if that is free soon. As
    /// [`Run::key`](crate::Run::key).
    pub fn key(mut self, key: impl std::hash::Hash) -> Self {
        self.options.key = Some(AffinityKey::of(&key));
        self
    }

    /// Sets whether the function goes before or after other waiting tasks. By default [`Priority::Normal`].
    pub fn priority(mut self, priority: Priority) -> Self {
        self.options.priority = priority;
        self
    }
}

impl<T: DeserializeOwned + Send + 'static> TaskStream<T> {
    /// Makes the channel and the call, if the stream was not polled before. The first poll of the call submits it.
    fn start(&mut self) {
        let make = match std::mem::replace(&mut self.stage, StreamStage::Over) {
            StreamStage::New(make) => make,
            other => return self.stage = other,
        };
        self.stage = match channel::create::<Mpmc>(self.buffer) {
            Ok((sender, receiver)) => {
                let run = Run::new(&self.guard, make(Emit::new(sender)), self.options);
                StreamStage::Running(Box::new(run), Some(Items::new(receiver)))
            }
            Err(error) => {
                let why = format!("there is no channel for its items: {error}");
                let error = JoinError::new(ErrorKind::Spawn, self.name).because(why);
                StreamStage::Ended(Err(error), None)
            }
        };
    }

    /// The call has its outcome: what was sent before is read, and nothing that is sent from now on.
    fn end(&mut self, outcome: Result<(), JoinError>) {
        if let StreamStage::Running(_, items) = &mut self.stage {
            let mut items = items.take();
            if let Some(items) = &mut items {
                items.rx.flavor().close();
                items.left = self.buffer + BEING_DECODED;
            }
            self.stage = StreamStage::Ended(outcome, items);
        }
    }

    fn give(&mut self, item: Result<T, String>) -> Option<Result<T, JoinError>> {
        Some(item.map_err(|why| {
            // Drops the call, which stops the function.
            self.stage = StreamStage::Over;
            JoinError::new(ErrorKind::Decode, self.name)
                .because(format!("an item of the stream: {why}"))
                .after_start(true)
        }))
    }

    /// The failure of the function, as the last item, or the end.
    fn finish(&mut self) -> Option<Result<T, JoinError>> {
        match std::mem::replace(&mut self.stage, StreamStage::Over) {
            StreamStage::Ended(Err(error), _) => Some(Err(error)),
            _ => None,
        }
    }
}

impl<T> Items<T> {
    fn new(receiver: Mpmc) -> Self {
        Self {
            rx: Rx::new(receiver),
            waiter: Waiter::default(),
            left: usize::MAX,
        }
    }
}

/// The next item; `None` if there are no more, or their end is gone.
fn poll_item<T: DeserializeOwned + Send + 'static>(
    items: &mut Option<Items<T>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<T, String>>> {
    let Some(open) = items.as_mut().filter(|it| it.left > 0) else {
        return Poll::Ready(None);
    };
    let item = match ready!(open.rx.poll_recv(&mut open.waiter, cx)) {
        Ok(item) => Some(Ok(item)),
        Err(RecvError::Decode(why)) => Some(Err(why)),
        Err(RecvError::Closed) => None,
    };
    match item {
        Some(_) => open.left -= 1,
        None => *items = None,
    }
    Poll::Ready(item)
}

impl<T: DeserializeOwned + Send + 'static> Stream for TaskStream<T> {
    type Item = Result<T, JoinError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        this.start();
        if let StreamStage::Running(run, items) = &mut this.stage {
            if let Poll::Ready(Some(item)) = poll_item(items, cx) {
                return Poll::Ready(this.give(item));
            }
            let outcome = ready!(Pin::new(&mut **run).poll(cx));
            this.end(outcome);
        }
        if let StreamStage::Ended(_, items) = &mut this.stage {
            if let Some(item) = ready!(poll_item(items, cx)) {
                return Poll::Ready(this.give(item));
            }
        }
        Poll::Ready(this.finish())
    }
}

impl<T: DeserializeOwned + Send + 'static> FusedStream for TaskStream<T> {
    fn is_terminated(&self) -> bool {
        matches!(self.stage, StreamStage::Over)
    }
}

impl<T> Unpin for TaskStream<T> {}

impl<T> fmt::Debug for TaskStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            StreamStage::New(_) => "new",
            StreamStage::Running(..) => "running",
            StreamStage::Ended(..) => "ended",
            StreamStage::Over => "over",
        };
        f.debug_struct("TaskStream")
            .field("task", &self.name)
            .field("stage", &stage)
            .finish_non_exhaustive()
    }
}
