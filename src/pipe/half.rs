//! The two ends of one direction.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{Sink, Stream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

use crate::channel::{
    End, Outbox, Receiving, RecvError, SendError, Sending, TryRecvError, TrySendError, Waiter,
};

/// The end of a [`channel`](crate::channel()) or a split [`Pipe`](crate::Pipe) that sends. It cannot be cloned.
pub struct PipeSender<T> {
    inner: Sending<T>,
    outbox: Outbox<T>,
}

/// The end of a [`channel`](crate::channel()) or a split [`Pipe`](crate::Pipe) that receives. It cannot be cloned.
pub struct PipeReceiver<T> {
    inner: Receiving<T>,
    seat: Waiter,
}

impl<T> PipeSender<T> {
    pub(super) fn new(end: End) -> Self {
        Self {
            inner: Sending::new(end),
            outbox: Outbox::default(),
        }
    }

    /// Whether nobody is left to receive.
    pub fn is_closed(&self) -> bool {
        self.inner.end.is_closed()
    }

    /// Ends the conversation. What was sent before is still received.
    pub fn close(&self) {
        self.inner.end.close();
    }

    /// Resolves when nobody is left to receive.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + Unpin + use<'_, T> {
        self.inner.end.until_closed()
    }
}

impl<T> PipeReceiver<T> {
    pub(super) fn new(end: End) -> Self {
        Self {
            inner: Receiving::new(end),
            seat: Waiter::default(),
        }
    }

    /// Whether nobody is left to send. There may still be messages.
    pub fn is_closed(&self) -> bool {
        self.inner.end.is_closed()
    }

    /// Ends the conversation. What was sent before is still received.
    pub fn close(&self) {
        self.inner.end.close();
    }

    /// Resolves when nobody is left to send.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + Unpin + use<'_, T> {
        self.inner.end.until_closed()
    }
}

impl<T: Serialize> PipeSender<T> {
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

impl<T: Serialize + Send + 'static> PipeSender<T> {
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

impl<T: Serialize + Send + 'static> Sink<T> for PipeSender<T> {
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

impl<T: DeserializeOwned> PipeReceiver<T> {
    /// Receives a message if there is one now.
    ///
    /// # Errors
    ///
    /// There is none, somebody else is receiving at this very moment, there never will be one, or it cannot
    /// be decoded.
    #[doc(alias = "get_nowait")]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.inner.try_recv()
    }

    /// Receives a message, blocking this thread until there is one. Not for async code.
    ///
    /// # Errors
    ///
    /// There never will be one, or it cannot be decoded.
    pub fn blocking_recv(&self) -> Result<T, RecvError> {
        self.inner.blocking_recv()
    }
}

impl<T: DeserializeOwned + Send + 'static> PipeReceiver<T> {
    /// Receives a message when there is one.
    ///
    /// # Errors
    ///
    /// There never will be one, or it cannot be decoded.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped before it is ready, it has received nothing. A message of more than 1 MiB that was
    /// being decoded then is kept for the next receive at this end or a clone of it in this process.
    #[doc(alias = "get")]
    pub fn recv(&self) -> impl Future<Output = Result<T, RecvError>> + Send + Unpin + use<'_, T> {
        self.inner.recv()
    }
}

impl<T: DeserializeOwned + Send + 'static> Stream for PipeReceiver<T> {
    type Item = Result<T, RecvError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { inner, seat, .. } = &mut *self;
        match ready!(inner.poll_recv(seat, cx)) {
            Err(RecvError::Closed) => Poll::Ready(None),
            other => Poll::Ready(Some(other)),
        }
    }
}

impl<T> Unpin for PipeSender<T> {}

impl<T> Serialize for PipeSender<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.inner.end.depart().map_err(ser::Error::custom)?;
        self.inner.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for PipeSender<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let inner = Sending::deserialize(deserializer)?;
        Ok(Self {
            inner,
            outbox: Outbox::default(),
        })
    }
}

impl<T> fmt::Debug for PipeSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<T> Unpin for PipeReceiver<T> {}

impl<T> Serialize for PipeReceiver<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.inner.end.depart().map_err(ser::Error::custom)?;
        self.inner.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for PipeReceiver<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let inner = Receiving::deserialize(deserializer)?;
        Ok(Self {
            inner,
            seat: Waiter::default(),
        })
    }
}

impl<T> fmt::Debug for PipeReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
