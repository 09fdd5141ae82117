//! The two flavors of a channel, and what each of them has to do.
//!
//! - [`Mpmc`](super::Mpmc), made by [`queue`](crate::queue()): each side is in any number of processes, and two robust
//!   locks protect the ring.
//! - [`Spsc`](super::Spsc), made by [`pipe`](crate::pipe()) and [`channel`](crate::channel()): each side is in one
//!   process at a time, and there is no lock between processes.
//!
//! The public type chooses the flavor once, as the type parameter of [`Tx`](super::Tx) or [`Rx`](super::Rx). Code above
//! this trait never asks which flavor it has, and the code of a flavor never asks either. What must stay true: no
//! attempt waits for another process. Never here: how long to look again and how to sleep; see `wait`.

use std::fmt;
use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::attempt::{Attempt, Popped, Pushed};
use super::bounds::{Bounds, Wanted};
use super::end::End;
use super::message::{Outgoing, Refused};
use crate::sys::buffer::StackBuf;

/// What arming the doorbell of a side came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arming {
    /// There is something to do now, so the side need not sleep.
    Ready,
    /// There is nothing to do. The process that changes this will ring.
    Armed,
    /// The same, and the side looks again after a while in any case.
    ArmedForAWhile,
    /// There is nothing to do, and no process rings when this changes.
    RetryLater,
    /// Another thread or process uses the channel at this moment.
    Busy,
    /// The channel is closed, and nothing is left to receive.
    Closed,
}

/// A protocol between the two sides of a channel: an end with the state that the protocol needs.
pub(crate) trait Flavor:
    Serialize + DeserializeOwned + fmt::Debug + Send + Sync + Sized + 'static
{
    /// The number of the protocol in the channel's memory.
    const ID: u64;

    /// Whether messages that do not fit the ring are taken, up to the capacity.
    const SPILLS: bool;

    /// Makes a side of a channel from an end that was made in this process.
    fn new(end: End) -> Self;

    fn end(&self) -> &End;

    /// Whether the channel was closed, as far as this end knows without asking the kernel.
    fn was_closed(&self) -> bool;

    /// Closes the channel for all processes. An end that was sent elsewhere closes nothing.
    fn close(&self);

    /// Whether this end is inside `outgoing`, and would leave with it.
    fn is_inside(&self, outgoing: &Outgoing) -> bool;

    /// Sends `bytes` with the descriptors of `with`, in one attempt.
    fn try_push_bytes(&self, bytes: &[u8], with: Option<&Outgoing>) -> Pushed;

    /// Sends `outgoing` beside the ring, which had no room for it, in one attempt, if it has at most `most` bytes.
    /// `may_commit` is asked last: if it refuses, nothing is sent.
    fn try_spill(
        &self,
        outgoing: &Outgoing,
        most: usize,
        may_commit: impl FnOnce() -> bool,
    ) -> Pushed;

    /// Receives in one attempt, a short message into `buf`. A message beside the ring that has more than `most` bytes
    /// is not received.
    fn try_pop(&self, buf: &mut StackBuf, most: usize) -> Popped;

    /// Arms the doorbell of this side, if there is nothing to do. A sender says with `wanted` what it waits for.
    fn arm(&self, wanted: Wanted) -> Arming;

    /// Puts this thread to sleep until there may be something to do. False if the channel is closed.
    fn block(&self, wanted: Wanted) -> bool;

    /// Whether the channel was closed, or no process has the other side.
    fn is_closed(&self) -> bool {
        self.was_closed() || self.end().is_peer_gone()
    }

    /// Sends `outgoing` in one attempt.
    fn try_push(&self, outgoing: &mut Outgoing) -> Pushed {
        if self.is_inside(outgoing) {
            let why = "an end of a pipe cannot be sent through itself";
            return Attempt::Done(Err(Refused(why.to_owned())));
        }
        outgoing.lock();
        let pushed = self.try_push_bytes(outgoing.body(), Some(outgoing));
        match pushed {
            Attempt::Done(Ok(())) => outgoing.commit(),
            _ => outgoing.unlock(),
        }
        pushed
    }
}

/// Makes a channel for `capacity` messages: the side that sends and the side that receives.
pub(crate) fn create<F: Flavor>(capacity: usize) -> io::Result<(F, F)> {
    create_within(Bounds::of_items(capacity))
}

/// Makes a channel with these bounds: the side that sends and the side that receives.
pub(crate) fn create_within<F: Flavor>(bounds: Bounds) -> io::Result<(F, F)> {
    let (sender, receiver) = End::pair(bounds, F::ID, F::SPILLS)?;
    Ok((F::new(sender), F::new(receiver)))
}

/// An end that has arrived from another process, if its channel has the flavor `F`.
pub(super) fn arrived<F: Flavor>(end: End) -> Result<End, String> {
    match end.shm().flavor() == F::ID {
        true => Ok(end),
        false => Err("an end of a queue or pipe arrived as an end of the other kind".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Mpmc, Rx, Spsc, TryRecvError, Tx};
    use super::*;

    #[test]
    fn end_of_a_pipe_is_not_received_as_an_end_of_a_queue() {
        let (carrier, arrivals) = create::<Mpmc>(1).unwrap();
        let (_sender, receiver) = create::<Spsc>(1).unwrap();
        Tx::<Spsc, Mpmc>::new(carrier).try_send(receiver).unwrap();
        let received = Rx::<Mpmc, Mpmc>::new(arrivals).try_recv();
        let Err(TryRecvError::Decode(why)) = received else {
            panic!("{received:?}");
        };
        assert!(why.contains("the other kind"), "{why}");
    }

    #[test]
    fn capacity_is_limited() {
        for capacity in [0, crate::ring::MOST_FRAMES + 1] {
            assert!(create::<Mpmc>(capacity).is_err(), "{capacity}");
        }
        let (sender, receiver) = create::<Mpmc>(crate::ring::MOST_FRAMES).unwrap();
        assert_eq!(sender.end().capacity(), receiver.end().capacity());
    }
}
