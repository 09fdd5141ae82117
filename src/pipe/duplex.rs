//! Both directions in one end.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Sink, Stream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::half::{PipeReceiver, PipeSender};
use crate::channel::{RecvError, SendError, TryRecvError, TrySendError};

/// One end of a [`pipe`](crate::pipe()): it sends `Tx` and receives `Rx`, and is a sink and a stream of them. Its methods
/// may be called concurrently. It cannot be cloned; sending it to another process moves it.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Pipe<Tx, Rx> {
    sender: PipeSender<Tx>,
    receiver: PipeReceiver<Rx>,
}

impl<Tx, Rx> Pipe<Tx, Rx> {
    pub(super) fn new(sender: PipeSender<Tx>, receiver: PipeReceiver<Rx>) -> Self {
        Self { sender, receiver }
    }

    /// Takes the two directions apart.
    pub fn into_split(self) -> (PipeSender<Tx>, PipeReceiver<Rx>) {
        (self.sender, self.receiver)
    }

    /// Whether the other end is gone, or the pipe was closed. There may still be messages.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Ends the conversation. What was sent before is still received.
    pub fn close(&self) {
        self.sender.close();
        self.receiver.close();
    }

    /// Resolves when the other end is gone, or the pipe was closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + Unpin + use<'_, Tx, Rx> {
        self.sender.closed()
    }
}

impl<Tx: Serialize, Rx> Pipe<Tx, Rx> {
    /// See [`PipeSender::try_send`].
    ///
    /// # Errors
    ///
    /// There is no room, nobody is left to receive, or the value cannot be sent; it is given back.
    pub fn try_send(&self, value: Tx) -> Result<(), TrySendError<Tx>> {
        self.sender.try_send(value)
    }

    /// See [`PipeSender::blocking_send`].
    ///
    /// # Errors
    ///
    /// Nobody is left to receive, or the value cannot be sent; it is given back.
    pub fn blocking_send(&self, value: Tx) -> Result<(), SendError<Tx>> {
        self.sender.blocking_send(value)
    }
}

impl<Tx: Serialize + Send + 'static, Rx> Pipe<Tx, Rx> {
    /// Sends `value` when there is room.
    ///
    /// # Errors
    ///
    /// Nobody is left to receive, or the value cannot be sent; it is given back.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has sent nothing, and the value is gone.
    #[doc(alias = "send_bytes")]
    pub fn send(
        &self,
        value: Tx,
    ) -> impl Future<Output = Result<(), SendError<Tx>>> + Send + Unpin + use<'_, Tx, Rx> {
        self.sender.send(value)
    }
}

impl<Tx, Rx: DeserializeOwned> Pipe<Tx, Rx> {
    /// See [`PipeReceiver::try_recv`].
    ///
    /// # Errors
    ///
    /// There is none now, there never will be one, or it cannot be decoded.
    #[doc(alias = "poll")]
    pub fn try_recv(&self) -> Result<Rx, TryRecvError> {
        self.receiver.try_recv()
    }

    /// See [`PipeReceiver::blocking_recv`].
    ///
    /// # Errors
    ///
    /// There never will be one, or it cannot be decoded.
    pub fn blocking_recv(&self) -> Result<Rx, RecvError> {
        self.receiver.blocking_recv()
    }
}

impl<Tx, Rx: DeserializeOwned + Send + 'static> Pipe<Tx, Rx> {
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
    pub fn recv(
        &self,
    ) -> impl Future<Output = Result<Rx, RecvError>> + Send + Unpin + use<'_, Tx, Rx> {
        self.receiver.recv()
    }
}

impl<Tx: Serialize + Send + 'static, Rx> Sink<Tx> for Pipe<Tx, Rx> {
    type Error = SendError<Tx>;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.sender).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, value: Tx) -> Result<(), Self::Error> {
        Pin::new(&mut self.sender).start_send(value)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.sender).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.sender).poll_close(cx)
    }
}

impl<Tx, Rx: DeserializeOwned + Send + 'static> Stream for Pipe<Tx, Rx> {
    type Item = Result<Rx, RecvError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.receiver).poll_next(cx)
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
