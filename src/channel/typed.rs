//! Ends that know the type of their messages: what queues and pipes are made of.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::cargo::{Cargo, Delivered, Refused};
use super::end::{End, Popped, Pushed};
use super::error::{RecvError, SendError, TryRecvError, TrySendError};

/// A message longer than this is encoded and decoded on a thread that may block, in bytes.
const LONG: usize = 1 << 20;

/// How long a sender waits for memory it used before, before it asks for more.
const PATIENCE: Duration = Duration::from_millis(250);

/// The sending end, of messages of one type.
pub(crate) struct Sending<T> {
    pub(crate) end: Arc<End>,
    of: PhantomData<fn(T)>,
}

/// The receiving end, of messages of one type.
pub(crate) struct Receiving<T> {
    pub(crate) end: Arc<End>,
    /// A long message that is being decoded: received, and not given to anybody yet.
    decoding: Arc<Mutex<Decoding<T>>>,
}

enum Decoding<T> {
    Nothing,
    UnderWay,
    Decoded(Result<T, String>),
}

impl<T> Sending<T> {
    pub(crate) fn new(end: End) -> Self {
        Self {
            end: Arc::new(end),
            of: PhantomData,
        }
    }
}

impl<T: Serialize> Sending<T> {
    /// Sends `value` if there is room now.
    pub(crate) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let mut cargo = match self.encode(&value) {
            Ok(cargo) => cargo,
            Err(Refused(why)) => return Err(TrySendError::refused(value, why)),
        };
        match self.end.try_push(&mut cargo) {
            Pushed::Done => Ok(()),
            Pushed::Full if self.end.is_closed() => Err(TrySendError::closed(value)),
            Pushed::Full | Pushed::Busy => Err(TrySendError::full(value)),
            Pushed::Closed => Err(TrySendError::closed(value)),
            Pushed::Failed(Refused(why)) => Err(TrySendError::refused(value, why)),
        }
    }

    /// Sends `value`, blocking this thread until there is room.
    pub(crate) fn blocking_send(&self, value: T) -> Result<(), SendError<T>> {
        let mut cargo = match self.encode(&value) {
            Ok(cargo) => cargo,
            Err(Refused(why)) => return Err(SendError::refused(Some(value), why)),
        };
        match self.end.push_blocking(&mut cargo) {
            Pushed::Done => Ok(()),
            Pushed::Failed(Refused(why)) => Err(SendError::refused(Some(value), why)),
            _ => Err(SendError::closed(Some(value))),
        }
    }

    /// Encodes `value`, wherever it fits.
    pub(crate) fn encode(&self, value: &T) -> Result<Cargo, Refused> {
        match Cargo::short(value)? {
            Some(cargo) => Ok(cargo),
            None => self.end.pack_long(value),
        }
    }
}

impl<T: Serialize + Send + 'static> Sending<T> {
    /// Sends `value` when there is room.
    pub(crate) async fn send(&self, value: T) -> Result<(), SendError<T>> {
        let (mut cargo, value) = match Cargo::short(&value) {
            Ok(Some(cargo)) => (cargo, value),
            Ok(None) => self.pack(value).await?,
            Err(Refused(why)) => return Err(SendError::refused(Some(value), why)),
        };
        match poll_fn(|cx| self.end.poll_push(&mut cargo, cx)).await {
            Pushed::Done => Ok(()),
            Pushed::Failed(Refused(why)) => Err(SendError::refused(Some(value), why)),
            _ => Err(SendError::closed(Some(value))),
        }
    }

    async fn pack(&self, value: T) -> Result<(Cargo, T), SendError<T>> {
        self.wait_for_memory().await;
        let end = Arc::clone(&self.end);
        let packing = tokio::task::spawn_blocking(move || (end.pack_long(&value), value));
        match packing.await {
            Ok((Ok(cargo), value)) => Ok((cargo, value)),
            Ok((Err(Refused(why)), value)) => Err(SendError::refused(Some(value), why)),
            // The runtime is shutting down.
            Err(_) => Err(SendError::closed(None)),
        }
    }

    /// Waits until memory that was used before comes back, but not for ever: whoever has it may have died.
    async fn wait_for_memory(&self) {
        let back = poll_fn(|cx| {
            while !self.end.has_memory() {
                ready!(self.end.poll_news(cx));
            }
            Poll::Ready(())
        });
        let _ = tokio::time::timeout(PATIENCE, back).await;
    }
}

impl<T> Receiving<T> {
    pub(crate) fn new(end: End) -> Self {
        Self {
            end: Arc::new(end),
            decoding: Arc::new(Mutex::new(Decoding::Nothing)),
        }
    }

    /// The long message that was decoded, if there is one; `Err` if it is under way.
    fn take_decoded(&self) -> Result<Option<Result<T, String>>, ()> {
        let mut decoding = self.decoding.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *decoding, Decoding::Nothing) {
            Decoding::Nothing => Ok(None),
            Decoding::Decoded(outcome) => Ok(Some(outcome)),
            Decoding::UnderWay => {
                *decoding = Decoding::UnderWay;
                Err(())
            }
        }
    }
}

impl<T: DeserializeOwned> Receiving<T> {
    /// Receives a message if there is one now.
    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        match self.take_decoded() {
            Ok(Some(outcome)) => return outcome.map_err(TryRecvError::Decode),
            Ok(None) => {}
            Err(()) => return Err(TryRecvError::Empty),
        }
        match self.end.try_pop() {
            Popped::Message(delivered) => self.decode(delivered).map_err(TryRecvError::Decode),
            Popped::Empty if self.end.is_closed() => match self.end.try_pop() {
                Popped::Message(delivered) => self.decode(delivered).map_err(TryRecvError::Decode),
                Popped::Busy => Err(TryRecvError::Empty),
                Popped::Empty | Popped::Closed => Err(TryRecvError::Closed),
            },
            Popped::Empty | Popped::Busy => Err(TryRecvError::Empty),
            Popped::Closed => Err(TryRecvError::Closed),
        }
    }

    /// Receives a message, blocking this thread until there is one.
    pub(crate) fn blocking_recv(&self) -> Result<T, RecvError> {
        loop {
            match self.take_decoded() {
                Ok(Some(outcome)) => return outcome.map_err(RecvError::Decode),
                Ok(None) => break,
                // Another task's: it is done when the thread that decodes it is.
                Err(()) => std::thread::sleep(Duration::from_micros(100)),
            }
        }
        match self.end.pop_blocking() {
            Popped::Message(delivered) => self.decode(delivered).map_err(RecvError::Decode),
            _ => Err(RecvError::Closed),
        }
    }

    fn decode(&self, delivered: Delivered) -> Result<T, String> {
        let long = delivered.is_long();
        let decoded = delivered.decode();
        if long {
            self.end.ring_for_memory();
        }
        decoded
    }
}

impl<T: DeserializeOwned + Send + 'static> Receiving<T> {
    /// Receives a message when there is one.
    pub(crate) fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        loop {
            match self.take_decoded() {
                Ok(Some(outcome)) => return Poll::Ready(outcome.map_err(RecvError::Decode)),
                Ok(None) => {}
                Err(()) => {
                    ready!(self.end.poll_news(cx));
                    continue;
                }
            }
            match ready!(self.end.poll_pop(cx)) {
                Popped::Message(delivered) if delivered.len() > LONG => {
                    self.decode_apart(delivered);
                }
                Popped::Message(delivered) => {
                    return Poll::Ready(self.decode(delivered).map_err(RecvError::Decode));
                }
                _ => return Poll::Ready(Err(RecvError::Closed)),
            }
        }
    }

    /// Receives a message when there is one.
    pub(crate) async fn recv(&self) -> Result<T, RecvError> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Decodes a long message on a thread that may block. It belongs to this end until somebody takes it,
    /// so that a future that is dropped meanwhile loses nothing.
    fn decode_apart(&self, delivered: Delivered) {
        let set = |decoding: &Mutex<Decoding<T>>, state| {
            *decoding.lock().unwrap_or_else(PoisonError::into_inner) = state;
        };
        set(&self.decoding, Decoding::UnderWay);
        let (end, decoding) = (Arc::clone(&self.end), Arc::clone(&self.decoding));
        tokio::task::spawn_blocking(move || {
            let outcome = delivered.decode();
            set(&decoding, Decoding::Decoded(outcome));
            end.wake_all();
            end.ring_for_memory();
        });
    }
}

impl<T> Clone for Sending<T> {
    fn clone(&self) -> Self {
        Self {
            end: Arc::clone(&self.end),
            of: PhantomData,
        }
    }
}

impl<T> Clone for Receiving<T> {
    fn clone(&self) -> Self {
        Self {
            end: Arc::clone(&self.end),
            decoding: Arc::clone(&self.decoding),
        }
    }
}

impl<T> Serialize for Sending<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.end.serialize(serializer)
    }
}

impl<T> Serialize for Receiving<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.end.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Sending<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        End::deserialize(deserializer).map(Self::new)
    }
}

impl<'de, T> Deserialize<'de> for Receiving<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        End::deserialize(deserializer).map(Self::new)
    }
}

impl<T> fmt::Debug for Sending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(&self.end, f.debug_struct("Sender"))
    }
}

impl<T> fmt::Debug for Receiving<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(&self.end, f.debug_struct("Receiver"))
    }
}

fn describe(end: &End, mut out: fmt::DebugStruct<'_, '_>) -> fmt::Result {
    out.field("len", &end.len())
        .field("capacity", &end.capacity())
        .finish_non_exhaustive()
}
