//! The sending side of a channel, for messages of one type. It runs in the sending process.
//!
//! A short message is encoded on the stack and sent at once, or encoded and sent later. A message that does not fit
//! the ring is encoded into shared memory, on a thread that may block. What must stay true: a send that is dropped
//! has sent its message or has not, and an unsent message gives the ends inside it back. Never here: the protocol of
//! the channel; see `mpmc` and `spsc`.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use pin_project::pin_project;
use serde::Serialize;
use tokio::runtime::Handle;

use super::attempt::{Attempt, Pushed};
use super::encoding::Encoding;
use super::error::{SendError, TrySendError};
use super::flavor::Flavor;
use super::memory_wait::MemoryWait;
use super::message::{Encoded, Outgoing, Refused};
use super::spilling::Spilling;
use super::wait;
use super::waiters::Waiter;
use crate::sys::buffer::StackBuf;
use crate::transfer::nonsense::Nonsense;

/// The sending side of a channel, for messages of type `T`.
pub(crate) struct Tx<T, F> {
    flavor: Arc<F>,
    of: PhantomData<fn(T)>,
}

impl<T, F: Flavor> Tx<T, F> {
    pub(crate) fn new(flavor: F) -> Self {
        Self {
            flavor: Arc::new(flavor),
            of: PhantomData,
        }
    }

    pub(crate) fn flavor(&self) -> &F {
        &self.flavor
    }

    /// Resolves when the channel is closed, or no process receives.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + Send + Unpin + use<'_, T, F> {
        wait::until_closed(&*self.flavor)
    }
}

impl<T: Serialize, F: Flavor> Tx<T, F> {
    /// Sends `value` if there is room now.
    pub(crate) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let pushed = self.start(&value).and_then(|started| match started {
            Started::Sent => Ok(Attempt::Done(Ok(()))),
            Started::Unsent(mut outgoing) => Ok(wait::push_now(&*self.flavor, &mut outgoing)),
            Started::TooLong => {
                let mut outgoing = self.flavor.end().encode_long(&value)?;
                Ok(wait::push_now(&*self.flavor, &mut outgoing))
            }
        });
        match pushed {
            Ok(Attempt::Done(Ok(()))) => Ok(()),
            Ok(Attempt::NotNow | Attempt::Busy | Attempt::Elsewhere) if self.flavor.is_closed() => {
                Err(TrySendError::closed(value, self.nonsense()))
            }
            Ok(Attempt::NotNow | Attempt::Busy | Attempt::Elsewhere) => {
                Err(TrySendError::full(value))
            }
            Ok(Attempt::Closed) => Err(TrySendError::closed(value, self.nonsense())),
            Ok(Attempt::Done(Err(Refused(why)))) | Err(Refused(why)) => {
                Err(TrySendError::refused(value, why))
            }
        }
    }

    /// Sends `value`, blocking this thread until there is room.
    pub(crate) fn blocking_send(&self, value: T) -> Result<(), SendError<T>> {
        let outgoing = self.start(&value).and_then(|started| match started {
            Started::Sent => Ok(None),
            Started::Unsent(outgoing) => Ok(Some(outgoing)),
            Started::TooLong => {
                MemoryWait::begin().block(&*self.flavor);
                self.flavor.end().encode_long(&value).map(Some)
            }
        });
        match outgoing {
            Ok(None) => Ok(()),
            Ok(Some(mut outgoing)) => {
                let pushed = wait::push_blocking(&*self.flavor, &mut outgoing);
                result_of(pushed, value, &*self.flavor)
            }
            Err(Refused(why)) => Err(SendError::refused(Some(value), why)),
        }
    }

    /// Why the channel has ended, if that is because it was overwritten.
    #[cold]
    fn nonsense(&self) -> Option<Nonsense> {
        self.flavor.end().nonsense()
    }

    /// Encodes `value`, and sends it if it is short and that can be done at once.
    #[inline]
    fn start(&self, value: &T) -> Result<Started, Refused> {
        let mut buf = StackBuf::new();
        Ok(match encode(&*self.flavor, value, &mut buf)? {
            Encoded::Short(bytes) => match self.flavor.try_push_bytes(bytes, None) {
                Attempt::Done(Ok(())) => Started::Sent,
                _ => Started::Unsent(Outgoing::of(bytes)),
            },
            Encoded::Outgoing(outgoing) => Started::Unsent(outgoing),
            Encoded::TooLong => Started::TooLong,
        })
    }
}

impl<T: Serialize + Send + 'static, F: Flavor> Tx<T, F> {
    /// Sends `value` when there is room.
    pub(crate) fn send(&self, value: T) -> Sending<'_, T, F> {
        Sending {
            tx: self,
            state: Some(SendState::Given(value)),
            waiter: Waiter::default(),
        }
    }
}

/// What became of a message that was just encoded.
enum Started {
    Sent,
    Unsent(Outgoing),
    /// It needs shared memory of its own.
    TooLong,
}

/// One message on its way into the channel. Dropped before it is ready, it has sent nothing.
#[pin_project]
#[must_use = "a message is sent when this is awaited"]
pub(crate) struct Sending<'a, T, F> {
    tx: &'a Tx<T, F>,
    state: Option<SendState<T>>,
    waiter: Waiter,
}

impl<T: Serialize + Send + 'static, F: Flavor> Future for Sending<'_, T, F> {
    type Output = Result<(), SendError<T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        SendState::poll(this.state, &this.tx.flavor, this.waiter, cx)
    }
}

/// How far the send of a message has come.
enum SendState<T> {
    Given(T),
    /// The message is long, and all memory for long messages is in use.
    WaitingForMemory(T, MemoryWait),
    /// A thread that may block encodes it.
    Encoding(Encoding<T>),
    Encoded(Outgoing, T),
    /// A thread that may block copies it.
    Spilling(Spilling, T),
}

/// What one step of a send came to.
enum SendStep<T> {
    Next(SendState<T>),
    Pending(SendState<T>),
    Ready(Result<(), SendError<T>>),
}

impl<T: Serialize + Send + 'static> SendState<T> {
    /// Goes through as many states as possible. The state is `None` when it is ready.
    fn poll<F: Flavor>(
        state: &mut Option<Self>,
        flavor: &Arc<F>,
        waiter: &mut Waiter,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<T>>> {
        loop {
            if let Some(sent) = Self::begin(state, &**flavor, cx) {
                return Poll::Ready(sent);
            }
            let step = match state.take() {
                None => return Poll::Ready(Ok(())),
                Some(given @ Self::Given(_)) => SendStep::Next(given),
                Some(Self::WaitingForMemory(value, wait)) => {
                    Self::poll_memory(value, wait, flavor, waiter, cx)
                }
                Some(Self::Encoding(encoding)) => Self::poll_encoding(encoding, cx),
                Some(Self::Encoded(mut outgoing, value)) => {
                    match wait::poll_push(&**flavor, &mut outgoing, waiter, cx) {
                        Poll::Ready(Attempt::Elsewhere) => {
                            let spilling = Spilling::start(flavor, outgoing);
                            SendStep::Next(Self::Spilling(spilling, value))
                        }
                        Poll::Ready(pushed) => SendStep::Ready(result_of(pushed, value, &**flavor)),
                        Poll::Pending => SendStep::Pending(Self::Encoded(outgoing, value)),
                    }
                }
                Some(Self::Spilling(spilling, value)) => {
                    Self::poll_spilling(spilling, value, &**flavor, waiter, cx)
                }
            };
            match step {
                SendStep::Next(next) => *state = Some(next),
                SendStep::Pending(same) => {
                    *state = Some(same);
                    return Poll::Pending;
                }
                SendStep::Ready(sent) => return Poll::Ready(sent),
            }
        }
    }

    /// Encodes a value that was just given, and sends it at once if it can, without moving the value.
    #[inline]
    fn begin<F: Flavor>(
        state: &mut Option<Self>,
        flavor: &F,
        cx: &mut Context<'_>,
    ) -> Option<Result<(), SendError<T>>> {
        let Some(Self::Given(value)) = state else {
            return None;
        };
        let mut buf = StackBuf::new();
        let encoded = match encode(flavor, value, &mut buf) {
            Ok(Encoded::Short(bytes)) if wait::push_at_once(flavor, bytes, cx) => {
                *state = None;
                return Some(Ok(()));
            }
            Ok(Encoded::Short(bytes)) => Ok(Encoded::Outgoing(Outgoing::of(bytes))),
            other => other,
        };
        let Some(Self::Given(value)) = state.take() else {
            return None;
        };
        *state = Some(match encoded {
            Ok(Encoded::Outgoing(outgoing)) => Self::Encoded(outgoing, value),
            Ok(_) => Self::WaitingForMemory(value, MemoryWait::begin()),
            Err(Refused(why)) => return Some(Err(SendError::refused(Some(value), why))),
        });
        None
    }

    fn poll_memory<F: Flavor>(
        value: T,
        wait: MemoryWait,
        flavor: &Arc<F>,
        waiter: &mut Waiter,
        cx: &Context<'_>,
    ) -> SendStep<T> {
        if wait.goes_on(&**flavor) {
            flavor.end().waiters().retry_later(waiter, cx);
            return SendStep::Pending(Self::WaitingForMemory(value, wait));
        }
        if Handle::try_current().is_ok() {
            return SendStep::Next(Self::Encoding(Encoding::start(flavor, value)));
        }
        // Another executor polls, and has no threads that may block.
        match flavor.end().encode_long(&value) {
            Ok(outgoing) => SendStep::Next(Self::Encoded(outgoing, value)),
            Err(Refused(why)) => SendStep::Ready(Err(SendError::refused(Some(value), why))),
        }
    }

    fn poll_encoding(mut encoding: Encoding<T>, cx: &mut Context<'_>) -> SendStep<T> {
        match encoding.poll(cx) {
            Poll::Pending => SendStep::Pending(Self::Encoding(encoding)),
            Poll::Ready(Ok((outgoing, value))) => SendStep::Next(Self::Encoded(outgoing, value)),
            Poll::Ready(Err(error)) => SendStep::Ready(Err(error)),
        }
    }

    fn poll_spilling<F: Flavor>(
        mut spilling: Spilling,
        value: T,
        flavor: &F,
        waiter: &mut Waiter,
        cx: &mut Context<'_>,
    ) -> SendStep<T> {
        match spilling.poll(cx) {
            Poll::Pending => SendStep::Pending(Self::Spilling(spilling, value)),
            Poll::Ready(Some((Attempt::NotNow, outgoing))) => {
                flavor.end().waiters().retry_later(waiter, cx);
                SendStep::Pending(Self::Encoded(outgoing, value))
            }
            Poll::Ready(Some((pushed, _))) => SendStep::Ready(result_of(pushed, value, flavor)),
            Poll::Ready(None) => SendStep::Ready(result_of(Attempt::Closed, value, flavor)),
        }
    }
}

/// Encodes `value`, unless it is longer than a message of the channel may be.
#[inline]
fn encode<'b, T: Serialize, F: Flavor>(
    flavor: &F,
    value: &T,
    buf: &'b mut StackBuf,
) -> Result<Encoded<'b>, Refused> {
    let encoded = Outgoing::encode(value, buf)?;
    let len = match &encoded {
        Encoded::Short(bytes) => bytes.len(),
        Encoded::Outgoing(outgoing) => outgoing.body().len(),
        // It is measured before it is encoded.
        Encoded::TooLong => 0,
    };
    flavor.end().check_length(len).map_err(Refused)?;
    Ok(encoded)
}

fn result_of<T, F: Flavor>(pushed: Pushed, value: T, flavor: &F) -> Result<(), SendError<T>> {
    match pushed {
        Attempt::Done(Ok(())) => Ok(()),
        Attempt::Done(Err(Refused(why))) => Err(SendError::refused(Some(value), why)),
        _ => Err(SendError::closed(Some(value), flavor.end().nonsense())),
    }
}

/// The message that a sink has taken and not sent yet.
pub(crate) struct Outbox<T> {
    // Never locked: the mutex makes the sink `Sync` if its messages are `Send`. In a box, which the first message that
    // has to wait makes: a message may contain ends of its own channel.
    state: Mutex<Option<Box<Option<SendState<T>>>>>,
    waiter: Waiter,
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(None),
            waiter: Waiter::default(),
        }
    }
}

impl<T: Serialize + Send + 'static> Outbox<T> {
    /// Takes `value`, and sends it if that can be done at once.
    pub(crate) fn start_send<F: Flavor>(
        &mut self,
        tx: &Tx<T, F>,
        value: T,
    ) -> Result<(), SendError<T>> {
        let mut buf = StackBuf::new();
        let state = match encode(&*tx.flavor, &value, &mut buf) {
            Err(Refused(why)) => return Err(SendError::refused(Some(value), why)),
            // To be encoded by a thread that may block.
            Ok(Encoded::TooLong) => SendState::Given(value),
            Ok(Encoded::Short(bytes)) => match tx.flavor.try_push_bytes(bytes, None) {
                Attempt::NotNow | Attempt::Busy => SendState::Encoded(Outgoing::of(bytes), value),
                done => return result_of(done, value, &*tx.flavor),
            },
            Ok(Encoded::Outgoing(mut outgoing)) => match tx.flavor.try_push(&mut outgoing) {
                Attempt::NotNow | Attempt::Busy => SendState::Encoded(outgoing, value),
                done => return result_of(done, value, &*tx.flavor),
            },
        };
        let waiting = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        **waiting.get_or_insert_default() = Some(state);
        Ok(())
    }

    /// Waits until the message it has taken is sent.
    pub(crate) fn poll_flush<F: Flavor>(
        &mut self,
        tx: &Tx<T, F>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<T>>> {
        let Self { state, waiter } = self;
        match state.get_mut().unwrap_or_else(PoisonError::into_inner) {
            Some(state) => SendState::poll(state, &tx.flavor, waiter, cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Waits until the message it has taken is sent, and closes the channel.
    pub(crate) fn poll_close<F: Flavor>(
        &mut self,
        tx: &Tx<T, F>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<T>>> {
        ready!(self.poll_flush(tx, cx))?;
        tx.flavor.close();
        Poll::Ready(Ok(()))
    }
}

impl<T, F> Clone for Tx<T, F> {
    fn clone(&self) -> Self {
        Self {
            flavor: Arc::clone(&self.flavor),
            of: PhantomData,
        }
    }
}

impl<T, F: Flavor> fmt::Debug for Tx<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.flavor.end().describe(f.debug_struct("Sender"))
    }
}
