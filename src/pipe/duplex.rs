//! Both directions of a pipe in one end.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Sink, Stream};
use pin_project::pin_project;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::half::{PipeReceiver, PipeSender};
use crate::channel::{RecvError, SendError, TryRecvError, TrySendError};

/// One end of a [`pipe`](crate::pipe()): it sends `Tx` and receives `Rx`.
///
/// Its methods may be called concurrently. It cannot be cloned, and sending it to another process moves it. It is a
/// sink of `Tx` and a stream of `Rx`. Closing the sink closes the sending direction, so the other end's stream ends;
/// this end still receives.
#[pin_project]
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Pipe<Tx, Rx> {
    #[pin]
    sender: PipeSender<Tx>,
    #[pin]
    receiver: PipeReceiver<Rx>,
}

impl<Tx, Rx> Pipe<Tx, Rx> {
    pub(super) fn new(sender: PipeSender<Tx>, receiver: PipeReceiver<Rx>) -> Self {
        Self { sender, receiver }
    }

    /// Splits the end into its two directions.
    pub fn into_split(self) -> (PipeSender<Tx>, PipeReceiver<Rx>) {
        (self.sender, self.receiver)
    }

    /// Whether this end can send no more: the pipe or its sending direction was closed, or the other end is gone. There
    /// may still be messages to receive.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Closes both directions for both ends. Messages that were sent before are still received.
    pub fn close(&self) {
        self.sender.close();
        self.receiver.close();
    }

    /// Resolves when this end can send no more: the pipe or its sending direction was closed, or the other end is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + Unpin + use<'_, Tx, Rx> {
        self.sender.closed()
    }
}

impl<Tx: Serialize, Rx> Pipe<Tx, Rx> {
    /// Sends `value` if there is room now. See [`PipeSender::try_send`].
    ///
    /// # Errors
    ///
    /// There is no room now, another task or thread is sending here at this moment, no process can receive any more, or
    /// the value cannot be sent. The error has the value.
    pub fn try_send(&self, value: Tx) -> Result<(), TrySendError<Tx>> {
        self.sender.try_send(value)
    }

    /// Sends `value`, blocking this thread until there is room. See [`PipeSender::blocking_send`].
    ///
    /// # Errors
    ///
    /// No process can receive any more, or the value cannot be sent. The error has the value.
    pub fn blocking_send(&self, value: Tx) -> Result<(), SendError<Tx>> {
        self.sender.blocking_send(value)
    }
}

impl<Tx: Serialize + Send + 'static, Rx> Pipe<Tx, Rx> {
    /// Sends `value` when there is room.
    ///
    /// # Errors
    ///
    /// No process can receive any more, or the value cannot be sent. The error has the value.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has sent nothing, and the value is dropped.
    #[doc(alias = "send_bytes")]
    pub fn send(
        &self,
        value: Tx,
    ) -> impl Future<Output = Result<(), SendError<Tx>>> + Send + Unpin + use<'_, Tx, Rx> {
        self.sender.send(value)
    }
}

impl<Tx, Rx: DeserializeOwned> Pipe<Tx, Rx> {
    /// Receives a message if there is one now. See [`PipeReceiver::try_recv`].
    ///
    /// # Errors
    ///
    /// There is no message now, another task or thread is receiving here at this moment, there will be no more
    /// messages, or the message cannot be decoded.
    #[doc(alias = "poll")]
    pub fn try_recv(&self) -> Result<Rx, TryRecvError> {
        self.receiver.try_recv()
    }

    /// Receives a message, blocking this thread until there is one. See [`PipeReceiver::blocking_recv`].
    ///
    /// # Errors
    ///
    /// There will be no more messages, or the message cannot be decoded.
    pub fn blocking_recv(&self) -> Result<Rx, RecvError> {
        self.receiver.blocking_recv()
    }
}

impl<Tx, Rx: DeserializeOwned + Send + 'static> Pipe<Tx, Rx> {
    /// Receives a message when there is one.
    ///
    /// # Errors
    ///
    /// There will be no more messages, or the message cannot be decoded.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped before it is ready, it has received nothing. A message of more than 1 MiB that was
    /// being decoded at that time is kept for the next receive at this end.
    pub fn recv(
        &self,
    ) -> impl Future<Output = Result<Rx, RecvError>> + Send + Unpin + use<'_, Tx, Rx> {
        self.receiver.recv()
    }
}

impl<Tx: Serialize + Send + 'static, Rx> Sink<Tx> for Pipe<Tx, Rx> {
    type Error = SendError<Tx>;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.project().sender.poll_ready(cx)
    }

    fn start_send(self: Pin<&mut Self>, value: Tx) -> Result<(), Self::Error> {
        self.project().sender.start_send(value)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.project().sender.poll_flush(cx)
    }

    /// Flushes, and closes the sending direction. The receiving direction stays open.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.project().sender.poll_close(cx)
    }
}

impl<Tx, Rx: DeserializeOwned + Send + 'static> Stream for Pipe<Tx, Rx> {
    type Item = Result<Rx, RecvError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.project().receiver.poll_next(cx)
    }
}

impl<Tx, Rx> fmt::Debug for Pipe<Tx, Rx> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe")
            .field("sender", &self.sender)
            .field("receiver", &self.receiver)
            .finish()
    }
}
