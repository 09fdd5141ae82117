//! The places of a map's batches in a queue that has limits.
//!
//! Runs in the application, in the task that polls the map. Must stay true: no place is kept while the input has no
//! item, so that a slow input keeps no other call waiting.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::pool::calls::ticket::Ticket;
use crate::pool::decisions::admission::Need;
use crate::pool::shared::PoolShared;
use crate::schedule::Priority;

/// What waits for a place is called in errors.
const MAP_NAME: &str = "procession::Pool::map";

/// See the module.
#[derive(Debug, Default)]
pub(in crate::pool) struct MapPlaces {
    /// The place of the next batch, or the wait for it.
    next: Option<Ticket>,
    /// The places of batches that were read and not submitted.
    used: usize,
}

impl MapPlaces {
    /// Waits for the place of the next batch. In a pool that is closed it does not wait: the batch is refused later.
    pub(in crate::pool) fn poll_next(
        &mut self,
        shared: &Arc<PoolShared>,
        priority: Priority,
        cx: &Context<'_>,
    ) -> Poll<()> {
        if !shared.settings.has_queue_limits() {
            return Poll::Ready(());
        }
        if self.next.is_none() {
            let need = Need {
                priority,
                bytes: 0,
                start_by: None,
            };
            self.next = Ticket::take(shared, need, MAP_NAME, cx).ok();
        }
        if let Some(ticket) = &mut self.next {
            if ready!(ticket.poll(shared, MAP_NAME, cx)).is_err() {
                self.next = None;
            }
        }
        Poll::Ready(())
    }

    /// A batch was read, and has the place.
    pub(in crate::pool) fn use_next(&mut self) {
        self.used += usize::from(self.next.take().is_some());
    }

    /// The places of the batches that are submitted now.
    pub(in crate::pool) fn take_used(&mut self) -> usize {
        std::mem::take(&mut self.used)
    }

    /// There is no item for the place of the next batch. A wait for the place continues.
    pub(in crate::pool) fn give_next_back(&mut self, shared: &Arc<PoolShared>) {
        if let Some(Ticket::HasPlace(_)) = self.next {
            self.stop_waiting(shared);
        }
    }

    /// Gives all places back, and ends the wait for the next.
    pub(in crate::pool) fn give_back(&mut self, shared: &Arc<PoolShared>) {
        self.stop_waiting(shared);
        for _ in 0..self.take_used() {
            Ticket::HasPlace(0).leave(shared);
        }
    }

    /// The next batch needs no place: the wait for one ends, and a place is given back.
    pub(in crate::pool) fn stop_waiting(&mut self, shared: &Arc<PoolShared>) {
        if let Some(ticket) = self.next.take() {
            ticket.leave(shared);
        }
    }
}
