//! The readers of a pool's events.
//!
//! Lives in the application. The newest events are kept in a ring of fixed size, which is made for the first reader
//! (`tokio::sync::broadcast`). Nothing waits for a reader.

use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::Stream;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::pool_event::PoolEvent;

/// How many events a reader may be behind before it misses some.
const MOST_BEHIND: usize = 1024;

/// Where events go, from the first reader until the end of the pool.
#[derive(Debug, Default)]
pub(in crate::pool) struct EventLog(Mutex<Log>);

#[derive(Debug, Default)]
enum Log {
    #[default]
    Unread,
    Read(broadcast::Sender<PoolEvent>),
    Ended,
}

impl EventLog {
    /// A reader of the events from now on.
    pub(in crate::pool) fn read(&self) -> PoolEvents {
        let mut log = self.lock();
        let reader = match &*log {
            Log::Read(sender) => Some(sender.subscribe()),
            Log::Unread => {
                let (sender, reader) = broadcast::channel(MOST_BEHIND);
                *log = Log::Read(sender);
                Some(reader)
            }
            Log::Ended => None,
        };
        PoolEvents::new(reader)
    }

    /// Tells the readers. Wakes them, which runs code of their executors.
    pub(in crate::pool) fn tell(&self, event: PoolEvent) {
        let sender = match &*self.lock() {
            Log::Read(sender) => sender.clone(),
            Log::Unread | Log::Ended => return,
        };
        // It fails if all readers were dropped.
        let _ = sender.send(event);
    }

    /// There are no more events: readers end when they have read all.
    pub(in crate::pool) fn end(&self) {
        let log = std::mem::replace(&mut *self.lock(), Log::Ended);
        // Wakes the readers, where no lock is held.
        drop(log);
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The events of a pool: a stream. Made by [`Pool::events`](crate::Pool::events).
///
/// It ends with the pool. It is no handle on the pool.
///
/// # Cancel safety
///
/// Cancel safe: a dropped `next` loses no event.
#[must_use = "a stream does nothing unless it is polled"]
pub struct PoolEvents(Pin<Box<dyn Stream<Item = PoolEvent> + Send>>);

impl PoolEvents {
    /// A stream without events.
    pub(in crate::pool) fn ended() -> Self {
        Self::new(None)
    }

    fn new(reader: Option<broadcast::Receiver<PoolEvent>>) -> Self {
        Self(Box::pin(futures::stream::unfold(reader, async |reader| {
            let mut reader = reader?;
            let event = match reader.recv().await {
                Ok(event) => event,
                Err(RecvError::Lagged(missed)) => PoolEvent::Missed(missed as usize),
                Err(RecvError::Closed) => return None,
            };
            Some((event, Some(reader)))
        })))
    }
}

impl Stream for PoolEvents {
    type Item = PoolEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PoolEvent>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for PoolEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolEvents").finish_non_exhaustive()
    }
}
