//! The receiving side of a channel, for messages of one type. It runs in the receiving process.
//!
//! A short message is decoded where it is received, a long one on a thread that may block. What must stay true: a
//! receive that is dropped loses no message, so a long message that is being decoded belongs to the side and not to the
//! receive. Never here: the protocol of the channel; see `mpmc` and `spsc`.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use super::attempt::{Attempt, Taken};
use super::decoding;
use super::decoding::{DecodeQueue, DecodeState, StillDecoding};
use super::error::{RecvError, TryRecvError};
use super::flavor::Flavor;
use super::message::{Incoming, LONGEST_HANDLED_HERE};
use super::patience::RETRY_INTERVAL;
use super::wait;
use super::waiters::Waiter;
use crate::codec::codec;
use crate::sys::buffer::StackBuf;

/// The receiving side of a channel, for messages of type `T`.
pub(crate) struct Rx<T, F> {
    flavor: Arc<F>,
    decoding: Arc<DecodeQueue<T>>,
}

impl<T, F: Flavor> Rx<T, F> {
    pub(crate) fn new(flavor: F) -> Self {
        Self {
            flavor: Arc::new(flavor),
            decoding: Arc::default(),
        }
    }

    pub(crate) fn flavor(&self) -> &F {
        &self.flavor
    }

    /// Resolves when the channel is closed, or no process sends.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + Send + Unpin + use<'_, T, F> {
        wait::until_closed(&*self.flavor)
    }
}

impl<T: DeserializeOwned, F: Flavor> Rx<T, F> {
    /// Receives a message if there is one now.
    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        match self.take_decoded() {
            Ok(Some(decoded)) => return decoded.map_err(TryRecvError::Decode),
            Ok(None) => {}
            Err(StillDecoding) => return Err(TryRecvError::Empty),
        }
        let mut buf = StackBuf::new();
        match wait::pop_now(&*self.flavor, &mut buf) {
            Attempt::Done(message) => self.decode(message, &buf).map_err(TryRecvError::Decode),
            Attempt::NotNow | Attempt::Busy | Attempt::Elsewhere => Err(TryRecvError::Empty),
            Attempt::Closed => Err(self.ended().into()),
        }
    }

    /// Receives a message, blocking this thread until there is one.
    pub(crate) fn blocking_recv(&self) -> Result<T, RecvError> {
        loop {
            match self.take_decoded() {
                Ok(Some(decoded)) => return decoded.map_err(RecvError::Decode),
                Ok(None) => break,
                Err(StillDecoding) => std::thread::sleep(RETRY_INTERVAL),
            }
        }
        let mut buf = StackBuf::new();
        match wait::pop_blocking(&*self.flavor, &mut buf) {
            Attempt::Done(message) => self.decode(message, &buf).map_err(RecvError::Decode),
            _ => Err(self.ended()),
        }
    }

    /// The first of the long messages, if there are any.
    #[inline]
    fn take_decoded(&self) -> Result<Option<Result<T, String>>, StillDecoding> {
        match self.decoding.has_entries() {
            true => self.take_first_decoded(),
            false => Ok(None),
        }
    }

    #[cold]
    fn take_first_decoded(&self) -> Result<Option<Result<T, String>>, StillDecoding> {
        Ok(match self.decoding.take()? {
            None | Some(DecodeState::Decoding | DecodeState::Nothing) => None,
            Some(DecodeState::Decoded(decoded)) => Some(decoded),
            Some(DecodeState::Undecoded(incoming)) => Some(self.decode_long(incoming)),
        })
    }

    /// Decodes a message, which is in `buf` if it is short.
    #[inline]
    fn decode(&self, message: Taken, buf: &StackBuf) -> Result<T, String> {
        match message {
            Taken::Short => {
                let bytes = buf.bytes();
                let checked = self.flavor.end().check_length(bytes.len());
                checked.and_then(|()| codec::decode(bytes))
            }
            Taken::Long(incoming) => self.decode_long(*incoming),
        }
    }

    /// Why nothing will be received any more.
    #[cold]
    fn ended(&self) -> RecvError {
        match self.flavor.end().tell_nonsense() {
            Some(nonsense) => RecvError::Decode(nonsense.explain_channel()),
            None => RecvError::Closed,
        }
    }

    fn decode_long(&self, incoming: Incoming) -> Result<T, String> {
        let has_memory = incoming.is_long();
        let decoded = incoming.decode();
        if has_memory {
            decoding::ring_for_memory(&*self.flavor);
        }
        decoded
    }
}

impl<T: DeserializeOwned + Send + 'static, F: Flavor> Rx<T, F> {
    /// Receives a message when there is one.
    pub(crate) fn poll_recv(
        &self,
        waiter: &mut Waiter,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, RecvError>> {
        loop {
            match self.poll_decoded(waiter, cx) {
                Poll::Ready(Some(decoded)) => {
                    return Poll::Ready(decoded.map_err(RecvError::Decode));
                }
                Poll::Ready(None) => {}
                Poll::Pending => return Poll::Pending,
            }
            let mut buf = StackBuf::new();
            match ready!(wait::poll_pop(&*self.flavor, &mut buf, waiter, cx)) {
                Attempt::Done(Taken::Long(incoming)) if is_decoded_elsewhere(&incoming) => {
                    decoding::start(&self.decoding, &self.flavor, *incoming);
                }
                Attempt::Elsewhere => decoding::start_taking(&self.decoding, &self.flavor),
                Attempt::Done(message) => {
                    let decoded = self.decode(message, &buf);
                    return Poll::Ready(decoded.map_err(RecvError::Decode));
                }
                _ => return Poll::Ready(Err(self.ended())),
            }
        }
    }

    /// Receives a message when there is one.
    pub(crate) fn recv(
        &self,
    ) -> impl Future<Output = Result<T, RecvError>> + Send + Unpin + use<'_, T, F> {
        let mut waiter = Waiter::default();
        poll_fn(move |cx| self.poll_recv(&mut waiter, cx))
    }

    /// Waits for the first of the long messages, if there are any.
    #[inline]
    fn poll_decoded(
        &self,
        waiter: &mut Waiter,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<T, String>>> {
        if let Ok(decoded) = self.take_decoded() {
            return Poll::Ready(decoded);
        }
        // First to be woken when it is decoded, then to look whether it is.
        self.flavor.end().waiters().register(waiter, cx);
        match self.take_decoded() {
            Ok(decoded) => Poll::Ready(decoded),
            Err(StillDecoding) => Poll::Pending,
        }
    }
}

/// Whether a message is so long that a thread that may block decodes it, if there are any.
fn is_decoded_elsewhere(incoming: &Incoming) -> bool {
    incoming.len() > LONGEST_HANDLED_HERE && !incoming.is_faulty() && Handle::try_current().is_ok()
}

impl<T, F> Clone for Rx<T, F> {
    fn clone(&self) -> Self {
        Self {
            flavor: Arc::clone(&self.flavor),
            decoding: Arc::clone(&self.decoding),
        }
    }
}

impl<T, F: Flavor> fmt::Debug for Rx<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.flavor.end().describe(f.debug_struct("Receiver"))
    }
}
