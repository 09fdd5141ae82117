//! The end through which a function gives items while it runs.
//!
//! Made in the application, used in the worker. The items go through a channel of their own; see `task_stream`.
//!
//! Must stay true: a function that waits for room makes progress, because its reader is slow and not the function.

use std::fmt;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::call::unsendable::Unsendable;
use crate::channel::{Mpmc, SendError, Sending, Tx};
use crate::task;
use crate::task::WaitForRoom;

/// Gives items to the [`TaskStream`](crate::TaskStream) of the function that has it.
///
/// It is the first parameter of a function that [`Pool::stream`](crate::Pool::stream) runs. It can be cloned, used from
/// several threads and tasks, and sent to other processes. Items of one end arrive in the order in which they were
/// sent.
///
/// After the stream was dropped, or the function has returned, items are dropped without a word: then the function is
/// being stopped, and [`task::cancelled`](crate::task::cancelled) says so. Only a function that
/// [`Managed::stream`](crate::Managed::stream) runs is ended by its next item.
///
/// # Panics
///
/// Sending an item that cannot be serialised ends the function, as a panic does, with
/// [`ErrorKind::Encode`](crate::ErrorKind::Encode).
pub struct Emit<T> {
    tx: Tx<T, Mpmc>,
}

impl<T> Emit<T> {
    pub(in crate::pool) fn new(channel: Mpmc) -> Self {
        Self {
            tx: Tx::new(channel),
        }
    }
}

impl<T: Serialize + Send + 'static> Emit<T> {
    /// Sends an item. Waits while the reader of the stream is more than [`buffer`](crate::TaskStream::buffer) items
    /// behind.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has sent nothing, and the item is dropped.
    pub fn send(&self, item: T) -> impl Future<Output = ()> + Send + Unpin + use<'_, T> {
        Emitting {
            sending: self.tx.send(item),
            wait: None,
        }
    }

    /// Sends an item, blocking this thread until there is room for it. Not for async code.
    pub fn blocking_send(&self, item: T) {
        match self.tx.try_send(item) {
            Ok(()) => task::progress(),
            Err(error) if error.is_full() => {
                let _wait = WaitForRoom::begin();
                settle(self.tx.blocking_send(error.into_inner()));
            }
            Err(error) if error.is_encode() => refuse(&error),
            Err(_) => task::end_with_stream(),
        }
    }
}

/// One item on its way.
struct Emitting<'a, T> {
    sending: Sending<'a, T, Mpmc>,
    wait: Option<WaitForRoom>,
}

impl<T: Serialize + Send + 'static> Future for Emitting<'_, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match Pin::new(&mut self.sending).poll(cx) {
            Poll::Ready(sent) => {
                self.wait = None;
                settle(sent);
                Poll::Ready(())
            }
            Poll::Pending => {
                self.wait.get_or_insert_with(WaitForRoom::begin);
                Poll::Pending
            }
        }
    }
}

fn settle<T>(sent: Result<(), SendError<T>>) {
    match sent {
        Ok(()) => task::progress(),
        Err(error) if error.is_encode() => refuse(&error),
        Err(_) => task::end_with_stream(),
    }
}

/// Ends the function: an item cannot be encoded. No panic hook runs.
#[cold]
fn refuse(error: &impl fmt::Display) -> ! {
    resume_unwind(Box::new(Unsendable(format!(
        "an item of the stream: {error}"
    ))))
}

impl<T> Clone for Emit<T> {
    fn clone(&self) -> Self {
        Self {
            tx: self.tx.clone(),
        }
    }
}

impl<T> Serialize for Emit<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.tx.flavor().serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Emit<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Mpmc::deserialize(deserializer).map(Self::new)
    }
}

impl<T> fmt::Debug for Emit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emit").finish_non_exhaustive()
    }
}
