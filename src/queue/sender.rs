//! The sending end of a queue.

use std::future::poll_fn;
use std::time::Duration;

use pin_project::pin_project;

use super::join::Abandoned;
use crate::channel::{Flavor as _, Mpmc, Outbox, Tx, Waiter, poll_news, sender_face};
use crate::own_runtime;

/// How often a join looks for receivers that died: the kernel rings no doorbell for a process that dies while others
/// have its side.
const DEATH_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// The sending end of a [`queue`](crate::queue()).
///
/// Cloning it, or sending it to another process, makes a further sending end. The queue ends for its receivers when
/// the last sending end in any process is gone. As a sink it sends the items given to it. Closing the sink flushes it
/// and leaves the queue open, because there may be other senders.
#[pin_project]
pub struct Sender<T> {
    tx: Tx<T, Mpmc>,
    outbox: Outbox<T>,
}

impl<T> Sender<T> {
    /// How many messages wait to be received.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.tx.flavor().end().len()
    }

    /// Whether no message waits to be received.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether as many messages wait as the queue can hold.
    pub fn is_full(&self) -> bool {
        self.len() >= self.capacity()
    }

    /// How many messages the queue holds at most.
    pub fn capacity(&self) -> usize {
        self.tx.flavor().end().capacity()
    }

    /// Resolves when every message that was sent has been received and marked as processed with
    /// [`Receiver::task_done`](crate::Receiver::task_done).
    ///
    /// # Errors
    ///
    /// The messages that are left will never be marked: the processes that received them have died, or no process can
    /// receive any more. Deaths are noticed within 50 ms. Or a process has overwritten the queue's memory; then the
    /// number of messages is not reliable.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub fn join(&self) -> impl Future<Output = Result<(), Abandoned>> + Send + Unpin + use<'_, T> {
        Box::pin(join(self.tx.flavor()))
    }
}

sender_face! {
    Sender is a side of Mpmc,
    called "queue",
    busy while "another sender is sending at this moment",
    "Flushes. The queue stays open: there may be other senders." closes by poll_flush
}

async fn join(flavor: &Mpmc) -> Result<(), Abandoned> {
    let mut waiter = Waiter::default();
    loop {
        let unfinished = flavor.unfinished();
        if unfinished == 0 {
            return all_done(flavor);
        }
        if flavor.is_closed() || flavor.lost() == unfinished {
            // Count again: a message that was marked in between is not lost.
            match flavor.unfinished() {
                0 => return all_done(flavor),
                left if left == unfinished => return Err(Abandoned(left)),
                // Not at once: a corrupted process can change the count at any moment.
                _ => {}
            }
        }
        let news = poll_fn(|cx| poll_news(flavor, &mut waiter, cx));
        // Look again in either case.
        let _ = own_runtime::timeout(DEATH_CHECK_INTERVAL, news).await;
    }
}

/// The counts say that all is done. The counts of an overwritten queue say nothing.
fn all_done(flavor: &Mpmc) -> Result<(), Abandoned> {
    match flavor.end().is_overwritten() {
        true => Err(Abandoned(1)),
        false => Ok(()),
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            tx: self.tx.clone(),
            outbox: Outbox::default(),
        }
    }
}
