//! The requests in a worker's ring that have no last reply, in order, as the parent wrote them.
//!
//! Lives in the application. A worker works off its ring in order, so every reply is about the oldest request, and its
//! outcomes follow those of the reply before. A reply that is not so was not written by this program's code.

use std::collections::VecDeque;
use std::time::Duration;

use crate::call::envelope::Reply;
use crate::schedule::TaskKey;
use crate::sys::clock::Moment;
use crate::transfer::nonsense::Nonsense;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::pool) struct Ledger(VecDeque<SentRequest>);

/// A request without a last reply.
#[derive(Debug)]
pub(in crate::pool) struct SentRequest {
    task: TaskKey,
    items: usize,
    /// How many of them have outcomes.
    received: usize,
    /// How long those have run, in nanoseconds.
    ran: u64,
    /// When the last of them came, or when the request became the oldest.
    progress: Moment,
    /// The start of its only item, as it was seen first.
    started: Option<Moment>,
}

impl SentRequest {
    pub(in crate::pool) fn task(&self) -> TaskKey {
        self.task
    }

    /// How many items have no outcome, and since when.
    pub(in crate::pool) fn due(&self) -> (usize, Moment) {
        (self.items - self.received, self.progress)
    }

    /// When the running item started, which the worker says was at `stamp`. Of a single item the first stamp counts.
    pub(in crate::pool) fn started(&self, stamp: Option<Moment>) -> Option<Moment> {
        self.started.or(stamp)
    }

    /// The worker says that the running item started at `stamp`.
    pub(in crate::pool) fn note_start(&mut self, stamp: Option<Moment>, now: Moment) {
        if self.items == 1 {
            self.started = self.started.or(stamp.map(|stamp| stamp.min(now)));
        }
    }
}

impl Ledger {
    /// A request for `items` items of `task` was written.
    pub(in crate::pool) fn sent(&mut self, task: TaskKey, items: usize, now: Moment) {
        self.0.push_back(SentRequest {
            task,
            items,
            received: 0,
            ran: 0,
            progress: now,
            started: None,
        });
    }

    /// The oldest request.
    pub(in crate::pool) fn front(&self) -> Option<&SentRequest> {
        self.0.front()
    }

    /// As [`Ledger::front`].
    pub(in crate::pool) fn front_mut(&mut self) -> Option<&mut SentRequest> {
        self.0.front_mut()
    }

    /// The request of `task` was revoked before anything of it was claimed. A worker does not reply to it.
    pub(in crate::pool) fn revoked(&mut self, task: TaskKey, now: Moment) {
        if let Some(at) = self.0.iter().rposition(|it| it.task == task) {
            self.0.remove(at);
            self.renew_front(at == 0, now);
        }
    }

    /// Checks a reply off. Returns how long the items of its request have run that have outcomes.
    pub(in crate::pool) fn replied(
        &mut self,
        head: &Reply,
        now: Moment,
    ) -> Result<Duration, Nonsense> {
        let request = self.0.front_mut().filter(|it| it.task == head.task);
        let request = request.ok_or(Nonsense("it replied to what it was not asked"))?;
        let (first, count) = (head.first as usize, head.count as usize);
        // The place of a reply without outcomes says nothing: nothing may have been claimed.
        if count > 0 && (first != request.received || count > request.items - request.received) {
            return Err(Nonsense(
                "a reply has outcomes of other items than were due",
            ));
        }
        request.received += count;
        request.ran = request.ran.saturating_add(head.run_nanos);
        request.progress = now;
        let ran = Duration::from_nanos(request.ran);
        if head.last {
            self.0.pop_front();
            self.renew_front(true, now);
        }
        Ok(ran)
    }

    fn renew_front(&mut self, is_new: bool, now: Moment) {
        if let Some(front) = self.0.front_mut().filter(|_| is_new) {
            front.progress = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(task: TaskKey, first: u32, count: u32, last: bool) -> Reply {
        Reply {
            task,
            first,
            count,
            last,
            run_nanos: u64::from(count),
            ..Reply::default()
        }
    }

    #[test]
    fn replies_in_order_are_checked_off_and_their_times_added() {
        let mut ledger = Ledger::default();
        ledger.sent(7, 3, Moment::default());
        ledger.sent(8, 1, Moment::default());
        let replies = [
            (reply(7, 0, 2, false), 2),
            (reply(7, 2, 1, false), 3),
            (reply(7, 3, 0, true), 3),
            (reply(8, 1, 0, true), 0),
        ];
        for (head, nanos) in replies {
            let ran = ledger.replied(&head, Moment::default());
            assert_eq!(ran, Ok(Duration::from_nanos(nanos)), "{head:?}");
        }
        assert!(
            ledger
                .replied(&reply(8, 0, 0, true), Moment::default())
                .is_err()
        );
    }

    #[test]
    fn reply_that_was_not_due_is_nonsense() {
        let wrong = [
            reply(8, 0, 1, true),
            reply(9, 0, 1, true),
            reply(7, 1, 1, false),
            reply(7, 0, 4, true),
            reply(7, 0, u32::MAX, true),
            reply(7, u32::MAX, 1, true),
        ];
        for head in wrong {
            let mut ledger = Ledger::default();
            ledger.sent(7, 3, Moment::default());
            ledger.sent(8, 1, Moment::default());
            assert!(
                ledger.replied(&head, Moment::default()).is_err(),
                "{head:?}"
            );
        }
    }
}
