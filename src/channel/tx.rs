//! The sending end, of messages of one type.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::end::{End, Pushed};
use super::error::{SendError, TrySendError};
use super::message::{Cargo, Packed, Refused};
use super::waiters::Waiter;
use crate::sys::buffer::StackBuf;

/// How long a sender waits for memory it used before, before it asks for more: who has it may have died.
const PATIENCE: Duration = Duration::from_millis(250);

/// How often a blocked sender looks whether memory it used before has come back.
const LOOK: Duration = Duration::from_micros(100);

/// The sending end, of messages of one type.
pub(crate) struct Sending<T> {
    pub(crate) end: Arc<End>,
    of: PhantomData<fn(T)>,
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
        let offered = self.offer(&value).and_then(|offer| match offer {
            Offer::Done => Ok(Pushed::Done),
            Offer::Laden(mut cargo) => Ok(self.end.push_now(&mut cargo)),
            Offer::Long => self
                .end
                .pack_long(&value)
                .map(|mut cargo| self.end.push_now(&mut cargo)),
        });
        match offered {
            Ok(Pushed::Done) => Ok(()),
            Ok(Pushed::Full | Pushed::Busy) if self.end.is_closed() => {
                Err(TrySendError::closed(value))
            }
            Ok(Pushed::Full | Pushed::Busy) => Err(TrySendError::full(value)),
            Ok(Pushed::Closed) => Err(TrySendError::closed(value)),
            Ok(Pushed::Failed(Refused(why))) | Err(Refused(why)) => {
                Err(TrySendError::refused(value, why))
            }
        }
    }

    /// Sends `value`, blocking this thread until there is room.
    pub(crate) fn blocking_send(&self, value: T) -> Result<(), SendError<T>> {
        let cargo = self.offer(&value).and_then(|offer| match offer {
            Offer::Done => Ok(None),
            Offer::Laden(cargo) => Ok(Some(cargo)),
            Offer::Long => {
                self.await_memory();
                self.end.pack_long(&value).map(Some)
            }
        });
        match cargo {
            Ok(None) => Ok(()),
            Ok(Some(mut cargo)) => outcome(self.end.push_blocking(&mut cargo), value),
            Err(Refused(why)) => Err(SendError::refused(Some(value), why)),
        }
    }

    /// Sends `value` if it is short and that can be done at once.
    #[inline]
    fn offer(&self, value: &T) -> Result<Offer, Refused> {
        let mut room = StackBuf::new();
        Ok(match Cargo::pack(value, &mut room)? {
            Packed::Short(bytes) => match self.end.try_push_bytes(bytes, None) {
                Pushed::Done => Offer::Done,
                _ => Offer::Laden(Cargo::of(bytes)),
            },
            Packed::Cargo(cargo) => Offer::Laden(cargo),
            Packed::Long => Offer::Long,
        })
    }

    /// Blocks until there is memory for a long message, or it does not pay to wait for it.
    fn await_memory(&self) {
        let end = Instant::now() + PATIENCE;
        while !self.end.has_memory() && !self.end.is_closed() && Instant::now() < end {
            std::thread::sleep(LOOK);
        }
    }
}

/// What became of a value that was offered.
enum Offer {
    Done,
    Laden(Cargo),
    /// It needs memory of its own.
    Long,
}

impl<T: Serialize + Send + 'static> Sending<T> {
    /// Sends `value` when there is room.
    pub(crate) fn send(&self, value: T) -> Dispatch<'_, T> {
        Dispatch {
            sending: self,
            delivery: Some(Delivery::Given(value)),
            seat: Waiter::default(),
        }
    }
}

fn outcome<T>(pushed: Pushed, value: T) -> Result<(), SendError<T>> {
    match pushed {
        Pushed::Done => Ok(()),
        Pushed::Failed(Refused(why)) => Err(SendError::refused(Some(value), why)),
        _ => Err(SendError::closed(Some(value))),
    }
}

/// One message on its way into the channel.
#[must_use = "a message is sent when this is awaited"]
pub(crate) struct Dispatch<'a, T> {
    sending: &'a Sending<T>,
    delivery: Option<Delivery<T>>,
    seat: Waiter,
}

impl<T> Unpin for Dispatch<'_, T> {}

impl<T: Serialize + Send + 'static> Future for Dispatch<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            sending,
            delivery,
            seat,
        } = &mut *self;
        Delivery::poll(delivery, &sending.end, seat, cx)
    }
}

/// How far a message has come.
enum Delivery<T> {
    Given(T),
    /// It is long, and all memory for such is in use; until then it waits for some.
    Waiting(T, Instant),
    /// It is being encoded on a thread that may block, which takes it from here.
    Packing(Arc<Mutex<Option<T>>>, JoinHandle<Option<Encoded<T>>>),
    Laden(Cargo, T),
}

type Encoded<T> = (Result<Cargo, Refused>, T);

impl<T: Serialize + Send + 'static> Delivery<T> {
    /// Goes as far as possible. There is nothing more of it when it is ready.
    fn poll(
        delivery: &mut Option<Self>,
        end: &Arc<End>,
        seat: &mut Waiter,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<T>>> {
        loop {
            if let Some(sent) = Self::begin(delivery, end, cx) {
                return Poll::Ready(sent);
            }
            let next = match delivery.take() {
                None => return Poll::Ready(Ok(())),
                Some(given @ Self::Given(_)) => given,
                Some(Self::Waiting(value, until)) => {
                    if !end.has_memory() && !end.is_closed() && Instant::now() < until {
                        end.nap(seat, cx);
                        *delivery = Some(Self::Waiting(value, until));
                        return Poll::Pending;
                    }
                    match Self::pack(end, value) {
                        Ok(packing) => packing,
                        Err(refused) => return Poll::Ready(Err(refused)),
                    }
                }
                Some(Self::Packing(value, mut packing)) => {
                    let Poll::Ready(packed) = Pin::new(&mut packing).poll(cx) else {
                        *delivery = Some(Self::Packing(value, packing));
                        return Poll::Pending;
                    };
                    match packed {
                        Ok(Some((Ok(cargo), value))) => Self::Laden(cargo, value),
                        Ok(Some((Err(Refused(why)), value))) => {
                            return Poll::Ready(Err(SendError::refused(Some(value), why)));
                        }
                        // The runtime shuts down, and no thread has taken it.
                        Ok(None) | Err(_) => {
                            return Poll::Ready(Err(SendError::closed(take(&value))));
                        }
                    }
                }
                Some(Self::Laden(mut cargo, value)) => {
                    let Poll::Ready(pushed) = end.poll_push(&mut cargo, seat, cx) else {
                        *delivery = Some(Self::Laden(cargo, value));
                        return Poll::Pending;
                    };
                    return Poll::Ready(outcome(pushed, value));
                }
            };
            *delivery = Some(next);
        }
    }

    /// Sends what was just given, if that can be done at once: without moving it any more. Else it is on its way.
    #[inline]
    fn begin(
        delivery: &mut Option<Self>,
        end: &End,
        cx: &mut Context<'_>,
    ) -> Option<Result<(), SendError<T>>> {
        let Some(Self::Given(value)) = delivery else {
            return None;
        };
        let mut room = StackBuf::new();
        let packed = match Cargo::pack(value, &mut room) {
            Ok(Packed::Short(bytes)) if end.push_at_once(bytes, cx) => {
                *delivery = None;
                return Some(Ok(()));
            }
            Ok(Packed::Short(bytes)) => Ok(Packed::Cargo(Cargo::of(bytes))),
            other => other,
        };
        let Some(Self::Given(value)) = delivery.take() else {
            return None;
        };
        *delivery = Some(match packed {
            Ok(Packed::Cargo(cargo)) => Self::Laden(cargo, value),
            Ok(_) => Self::Waiting(value, Instant::now() + PATIENCE),
            Err(Refused(why)) => return Some(Err(SendError::refused(Some(value), why))),
        });
        None
    }

    /// Begins to encode a long message.
    fn pack(end: &Arc<End>, value: T) -> Result<Self, SendError<T>> {
        if Handle::try_current().is_err() {
            // Some other executor polls, and there are no threads to do it.
            return match end.pack_long(&value) {
                Ok(cargo) => Ok(Self::Laden(cargo, value)),
                Err(Refused(why)) => Err(SendError::refused(Some(value), why)),
            };
        }
        let value = Arc::new(Mutex::new(Some(value)));
        let (shared, end) = (Arc::clone(&value), Arc::downgrade(end));
        let packing = tokio::task::spawn_blocking(move || {
            let end = end.upgrade()?;
            let value = take(&shared)?;
            Some((end.pack_long(&value), value))
        });
        Ok(Self::Packing(value, packing))
    }
}

fn take<T>(value: &Mutex<Option<T>>) -> Option<T> {
    let mut value = value.lock().unwrap_or_else(PoisonError::into_inner);
    value.take()
}

/// What a sink has taken and not sent.
pub(crate) struct Outbox<T> {
    // Locked by nobody: it makes the sink as shareable as its messages are sendable.
    delivery: Mutex<Option<Delivery<T>>>,
    seat: Waiter,
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self {
            delivery: Mutex::new(None),
            seat: Waiter::default(),
        }
    }
}

impl<T: Serialize + Send + 'static> Outbox<T> {
    /// Takes `value`, and sends it if that can be done at once.
    pub(crate) fn start(&mut self, sending: &Sending<T>, value: T) -> Result<(), SendError<T>> {
        let mut room = StackBuf::new();
        let delivery = match Cargo::pack(&value, &mut room) {
            Err(Refused(why)) => return Err(SendError::refused(Some(value), why)),
            // For a thread that may block.
            Ok(Packed::Long) => Delivery::Given(value),
            Ok(Packed::Short(bytes)) => match sending.end.try_push_bytes(bytes, None) {
                Pushed::Full | Pushed::Busy => Delivery::Laden(Cargo::of(bytes), value),
                done => return outcome(done, value),
            },
            Ok(Packed::Cargo(mut cargo)) => match sending.end.try_push(&mut cargo) {
                Pushed::Full | Pushed::Busy => Delivery::Laden(cargo, value),
                done => return outcome(done, value),
            },
        };
        *self.pending() = Some(delivery);
        Ok(())
    }

    /// Waits until what it has taken is sent.
    pub(crate) fn poll_flush(
        &mut self,
        sending: &Sending<T>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<T>>> {
        let Self { delivery, seat } = self;
        let delivery = delivery.get_mut().unwrap_or_else(PoisonError::into_inner);
        let sent = ready!(Delivery::poll(delivery, &sending.end, seat, cx));
        Poll::Ready(sent)
    }

    fn pending(&mut self) -> &mut Option<Delivery<T>> {
        self.delivery
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
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

impl<T> Serialize for Sending<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.end.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Sending<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        End::deserialize(deserializer).map(Self::new)
    }
}

impl<T> fmt::Debug for Sending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.end.describe(f.debug_struct("Sender"))
    }
}
