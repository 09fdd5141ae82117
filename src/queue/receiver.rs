//! The receiving end of a queue.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::join::NotReceived;
use crate::channel::{End, Receiving, RecvError, TryRecvError, Waiter};

/// The receiving end of a [`queue`](crate::queue()). Cloning and sending it gives more of them; each message goes
/// to one. It is a stream that ends when every sender in every process is gone and what they sent has been
/// received.
pub struct Receiver<T> {
    inner: Receiving<T>,
    seat: Waiter,
}

impl<T> Receiver<T> {
    pub(super) fn new(end: End) -> Self {
        Self {
            inner: Receiving::new(end),
            seat: Waiter::default(),
        }
    }

    /// How many messages wait to be received.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.inner.end.len()
    }

    /// Whether no message waits to be received.
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room for another message.
    #[doc(alias = "full")]
    pub fn is_full(&self) -> bool {
        self.len() >= self.capacity()
    }

    /// How many messages it holds at most.
    pub fn capacity(&self) -> usize {
        self.inner.end.capacity()
    }

    /// Whether it was closed, or nobody is left to send. There may still be messages.
    pub fn is_closed(&self) -> bool {
        self.inner.end.is_closed()
    }

    /// Closes the queue for everybody, everywhere. What was sent before is still received.
    pub fn close(&self) {
        self.inner.end.close();
    }

    /// Resolves when the queue is closed, or nobody is left to send.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + Unpin + use<'_, T> {
        self.inner.end.until_closed()
    }

    /// Says that a message this process received is done. See [`Sender::join`](crate::Sender::join).
    ///
    /// # Errors
    ///
    /// This process has received none that is not done.
    pub fn task_done(&self) -> Result<(), NotReceived> {
        match self.inner.end.done_one() {
            true => Ok(()),
            false => Err(NotReceived(())),
        }
    }
}

impl<T: DeserializeOwned> Receiver<T> {
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

impl<T: DeserializeOwned + Send + 'static> Receiver<T> {
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

impl<T: DeserializeOwned + Send + 'static> Stream for Receiver<T> {
    type Item = Result<T, RecvError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { inner, seat, .. } = &mut *self;
        match ready!(inner.poll_recv(seat, cx)) {
            Err(RecvError::Closed) => Poll::Ready(None),
            other => Poll::Ready(Some(other)),
        }
    }
}

impl<T> Unpin for Receiver<T> {}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            seat: Waiter::default(),
        }
    }
}

impl<T> Serialize for Receiver<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.inner.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Receiver<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let inner = Receiving::deserialize(deserializer)?;
        let seat = Waiter::default();
        Ok(Self { inner, seat })
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
