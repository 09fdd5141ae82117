//! The sending end of a queue.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Sink;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::join::Abandoned;
use crate::channel::{End, Outbox, SendError, Sending, TrySendError, Waiter};

/// How often a joiner looks for receivers that died: nobody rings for those.
const LOOK_FOR_DEATHS: Duration = Duration::from_millis(50);

/// The sending end of a [`queue`](crate::queue()). Cloning and sending it gives more of them; the queue ends
/// for its receivers when the last one anywhere is gone.
pub struct Sender<T> {
    inner: Sending<T>,
    outbox: Outbox<T>,
}

impl<T> Sender<T> {
    pub(super) fn new(end: End) -> Self {
        Self {
            inner: Sending::new(end),
            outbox: Outbox::default(),
        }
    }

    /// How many messages wait to be received.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.inner.end.len()
    }

    /// Whether no message waits to be received.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room for another message.
    pub fn is_full(&self) -> bool {
        self.len() >= self.capacity()
    }

    /// How many messages it holds at most.
    pub fn capacity(&self) -> usize {
        self.inner.end.capacity()
    }

    /// Whether it was closed, or nobody is left to receive.
    pub fn is_closed(&self) -> bool {
        self.inner.end.is_closed()
    }

    /// Closes the queue for everybody, everywhere. What was sent before is still received.
    #[doc(alias = "shutdown")]
    pub fn close(&self) {
        self.inner.end.close();
    }

    /// Resolves when the queue is closed, or nobody is left to receive.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + Unpin + use<'_, T> {
        self.inner.end.until_closed()
    }

    /// Resolves when every message that was sent has been received and called done.
    ///
    /// # Errors
    ///
    /// Receivers died that held messages, or all are gone and left some; those are never done.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub fn join(&self) -> impl Future<Output = Result<(), Abandoned>> + Send + Unpin + use<'_, T> {
        Box::pin(join(&self.inner.end))
    }
}

async fn join(end: &End) -> Result<(), Abandoned> {
    let mut seat = Waiter::default();
    loop {
        let unfinished = end.unfinished();
        if unfinished == 0 {
            return Ok(());
        }
        if end.is_closed() || end.lost() == unfinished {
            // What was done in between is not lost.
            return match end.unfinished() {
                0 => Ok(()),
                left if left == unfinished => Err(Abandoned(left)),
                _ => continue,
            };
        }
        let news = poll_fn(|cx| end.poll_news(&mut seat, cx));
        // Over time or not: look again.
        let _ = tokio::time::timeout(LOOK_FOR_DEATHS, news).await;
    }
}

impl<T: Serialize> Sender<T> {
    /// Sends `value` if there is room now.
    ///
    /// # Errors
    ///
    /// There is no room, somebody else is sending at this very moment, nobody is left to receive, or the
    /// value cannot be sent; it is given back.
    #[doc(alias = "put_nowait")]
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.inner.try_send(value)
    }

    /// Sends `value`, blocking this thread until there is room. Not for async code.
    ///
    /// # Errors
    ///
    /// Nobody is left to receive, or the value cannot be sent; it is given back.
    pub fn blocking_send(&self, value: T) -> Result<(), SendError<T>> {
        self.inner.blocking_send(value)
    }
}

impl<T: Serialize + Send + 'static> Sender<T> {
    /// Sends `value` when there is room. Once it has returned, the message outlives this process.
    ///
    /// # Errors
    ///
    /// Nobody is left to receive, or the value cannot be sent; it is given back.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has sent nothing, and the value is gone.
    #[doc(alias = "put")]
    pub fn send(
        &self,
        value: T,
    ) -> impl Future<Output = Result<(), SendError<T>>> + Send + Unpin + use<'_, T> {
        self.inner.send(value)
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError<T>>> {
        self.outbox.poll_flush(&self.inner, cx)
    }
}

impl<T: Serialize + Send + 'static> Sink<T> for Sender<T> {
    type Error = SendError<T>;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.flush(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, value: T) -> Result<(), Self::Error> {
        let Self { inner, outbox, .. } = &mut *self;
        outbox.start(inner, value)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.flush(cx)
    }

    /// Flushes. The queue goes on while there are other senders.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.flush(cx)
    }
}

impl<T> Unpin for Sender<T> {}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            outbox: Outbox::default(),
        }
    }
}

impl<T> Serialize for Sender<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.inner.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Sender<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let inner = Sending::deserialize(deserializer)?;
        Ok(Self {
            inner,
            outbox: Outbox::default(),
        })
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
