//! The receiving end, of messages of one type.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::runtime::Handle;

use super::end::{End, Popped};
use super::error::{RecvError, TryRecvError};
use super::message::Delivered;
use super::waiters::Waiter;
use crate::codec::codec;
use crate::sys::buffer::StackBuf;

/// A message longer than this is decoded on a thread that may block, in bytes: a mebibyte and what goes around it.
/// Copying that takes less time than waking another thread twice.
const LONG: usize = (1 << 20) + 4096;

/// How often a blocked receiver looks whether another task's message is decoded.
const LOOK: Duration = Duration::from_micros(100);

/// The receiving end, of messages of one type.
pub(crate) struct Receiving<T> {
    pub(crate) end: Arc<End>,
    unpacking: Arc<Unpacking<T>>,
}

/// Long messages that are being decoded: received, and not given to anybody yet. Whoever receives next gets
/// the first, so that a future that is dropped meanwhile loses nothing.
struct Unpacking<T> {
    line: Mutex<VecDeque<(u64, State<T>)>>,
    /// Whether there are any; to be looked at before the lock, which costs as much as receiving does.
    any: AtomicBool,
}

enum State<T> {
    UnderWay,
    /// The thread that was to decode it will not.
    GivenUp(Delivered),
    Decoded(Result<T, String>),
}

impl<T> Unpacking<T> {
    fn line(&self) -> MutexGuard<'_, VecDeque<(u64, State<T>)>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> u64 {
        let mut line = self.line();
        let number = line.back().map_or(0, |(last, _)| last + 1);
        line.push_back((number, State::UnderWay));
        self.any.store(true, Ordering::Release);
        number
    }

    fn set(&self, number: u64, state: State<T>) {
        let mut line = self.line();
        let place = line.iter_mut().find(|(other, _)| *other == number);
        if let Some((_, there)) = place {
            *there = state;
        }
    }

    /// The first, if it is no longer under way; `Err` if it is.
    fn take(&self) -> Result<Option<State<T>>, ()> {
        if !self.any.load(Ordering::Acquire) {
            return Ok(None);
        }
        let mut line = self.line();
        if let Some((_, State::UnderWay)) = line.front() {
            return Err(());
        }
        let first = line.pop_front();
        self.any.store(!line.is_empty(), Ordering::Release);
        Ok(first.map(|(_, state)| state))
    }
}

/// A long message on the thread that decodes it, or on the way there.
struct Piece<T> {
    delivered: Option<Delivered>,
    number: u64,
    unpacking: Arc<Unpacking<T>>,
    end: std::sync::Weak<End>,
}

impl<T: DeserializeOwned> Piece<T> {
    fn decode(mut self) {
        if let Some(delivered) = self.delivered.take() {
            let outcome = delivered.decode();
            self.unpacking.set(self.number, State::Decoded(outcome));
        }
    }
}

impl<T> Drop for Piece<T> {
    fn drop(&mut self) {
        // The runtime shuts down: whoever receives next decodes it.
        let given_up = self.delivered.take();
        let taken = given_up.is_none();
        if let Some(delivered) = given_up {
            self.unpacking.set(self.number, State::GivenUp(delivered));
        }
        if let Some(end) = self.end.upgrade() {
            end.wake_all();
            if taken {
                end.ring_for_memory();
            }
        }
    }
}

impl<T> Receiving<T> {
    pub(crate) fn new(end: End) -> Self {
        Self {
            end: Arc::new(end),
            unpacking: Arc::new(Unpacking {
                line: Mutex::default(),
                any: AtomicBool::new(false),
            }),
        }
    }
}

impl<T: DeserializeOwned> Receiving<T> {
    /// Receives a message if there is one now.
    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        match self.take_unpacked() {
            Ok(Some(outcome)) => return outcome.map_err(TryRecvError::Decode),
            Ok(None) => {}
            Err(()) => return Err(TryRecvError::Empty),
        }
        let mut room = StackBuf::new();
        match self.end.pop_now(&mut room) {
            Popped::Short => codec::decode(room.bytes()).map_err(TryRecvError::Decode),
            Popped::Message(delivered) => self.decode(*delivered).map_err(TryRecvError::Decode),
            Popped::Empty | Popped::Busy => Err(TryRecvError::Empty),
            Popped::Closed => Err(TryRecvError::Closed),
        }
    }

    /// Receives a message, blocking this thread until there is one.
    pub(crate) fn blocking_recv(&self) -> Result<T, RecvError> {
        loop {
            match self.take_unpacked() {
                Ok(Some(outcome)) => return outcome.map_err(RecvError::Decode),
                Ok(None) => break,
                Err(()) => std::thread::sleep(LOOK),
            }
        }
        let mut room = StackBuf::new();
        match self.end.pop_blocking(&mut room) {
            Popped::Short => codec::decode(room.bytes()).map_err(RecvError::Decode),
            Popped::Message(delivered) => self.decode(*delivered).map_err(RecvError::Decode),
            _ => Err(RecvError::Closed),
        }
    }

    /// The long message that was decoded first, if there is one; `Err` if it is under way.
    fn take_unpacked(&self) -> Result<Option<Result<T, String>>, ()> {
        Ok(match self.unpacking.take()? {
            None | Some(State::UnderWay) => None,
            Some(State::Decoded(outcome)) => Some(outcome),
            Some(State::GivenUp(delivered)) => Some(self.decode(delivered)),
        })
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
    pub(crate) fn poll_recv(
        &self,
        seat: &mut Waiter,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, RecvError>> {
        loop {
            let mut unpacked = self.take_unpacked();
            if unpacked.is_err() {
                // First to be told when it is there, and then to look whether it is.
                self.end.sit(seat, cx);
                unpacked = self.take_unpacked();
            }
            match unpacked {
                Ok(Some(outcome)) => return Poll::Ready(outcome.map_err(RecvError::Decode)),
                Ok(None) => {}
                Err(()) => return Poll::Pending,
            }
            let mut room = StackBuf::new();
            match ready!(self.end.poll_pop(&mut room, seat, cx)) {
                Popped::Short => {
                    let decoded = codec::decode(room.bytes());
                    return Poll::Ready(decoded.map_err(RecvError::Decode));
                }
                Popped::Message(delivered)
                    if delivered.len() > LONG && Handle::try_current().is_ok() =>
                {
                    self.decode_apart(*delivered);
                }
                Popped::Message(delivered) => {
                    return Poll::Ready(self.decode(*delivered).map_err(RecvError::Decode));
                }
                _ => return Poll::Ready(Err(RecvError::Closed)),
            }
        }
    }

    /// Receives a message when there is one.
    pub(crate) fn recv(
        &self,
    ) -> impl Future<Output = Result<T, RecvError>> + Send + Unpin + use<'_, T> {
        let mut seat = Waiter::default();
        poll_fn(move |cx| self.poll_recv(&mut seat, cx))
    }

    /// Decodes a long message on a thread that may block.
    fn decode_apart(&self, delivered: Delivered) {
        let piece = Piece {
            delivered: Some(delivered),
            number: self.unpacking.begin(),
            unpacking: Arc::clone(&self.unpacking),
            end: Arc::downgrade(&self.end),
        };
        tokio::task::spawn_blocking(move || piece.decode());
    }
}

impl<T> Clone for Receiving<T> {
    fn clone(&self) -> Self {
        Self {
            end: Arc::clone(&self.end),
            unpacking: Arc::clone(&self.unpacking),
        }
    }
}

impl<T> Serialize for Receiving<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.end.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Receiving<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        End::deserialize(deserializer).map(Self::new)
    }
}

impl<T> fmt::Debug for Receiving<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.end.describe(f.debug_struct("Receiver"))
    }
}
