//! A long message that a thread encodes, because encoding would block a runtime.
//!
//! Runs in the sending process. What must stay true: the value is returned in any case, unless its encoding panics.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use serde::Serialize;

use super::error::SendError;
use super::flavor::Flavor;
use super::message::{Outgoing, Refused};
use crate::threads;
use crate::threads::Running;

/// A long message and the value that it was encoded from.
type EncodedLong<T> = (Result<Outgoing, Refused>, T);

/// A value on a thread, or on the way there.
pub(super) struct Encoding<T> {
    /// The thread takes the value from here.
    value: Arc<Mutex<Option<T>>>,
    running: Running<Option<EncodedLong<T>>>,
}

impl<T: Serialize + Send + 'static> Encoding<T> {
    pub(super) fn start<F: Flavor>(flavor: &Arc<F>, value: T) -> Self {
        let value = Arc::new(Mutex::new(Some(value)));
        let (shared, flavor) = (Arc::clone(&value), Arc::downgrade(flavor));
        let running = threads::run(move || {
            let flavor = flavor.upgrade()?;
            let value = take(&shared)?;
            Some((flavor.end().encode_long(&value), value))
        });
        Self { value, running }
    }

    /// Waits for the encoded message and its value.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Outgoing, T), SendError<T>>> {
        Poll::Ready(match ready!(Pin::new(&mut self.running).poll(cx)) {
            Ok(Some((Ok(outgoing), value))) => Ok((outgoing, value)),
            Ok(Some((Err(Refused(why)), value))) => Err(SendError::refused(Some(value), why)),
            // The channel is gone, or no thread has taken the value.
            Ok(None) | Err(_) => Err(SendError::closed(take(&self.value), None)),
        })
    }
}

fn take<T>(value: &Mutex<Option<T>>) -> Option<T> {
    let mut value = value.lock().unwrap_or_else(PoisonError::into_inner);
    value.take()
}
