//! One way between processes: a ring, and a socket that is both bell and lifeline. What a killed process had half
//! written lies beyond the commit and is overwritten.
//!
//! Either side of a pipe's channel is held by one process at a time. Its protocol, without locks, is in `solo`.
//!
//! Any number of processes hold either side of a queue's. Whoever sends takes the senders' lock, whoever receives
//! the receivers'; both are only ever tried, and tell when their holder died. The bells are levels, not events. The protocol, which survived tens of thousands of kills where
//! simpler ones lost wake-ups:
//! 1. A byte in the receivers' end of the socket means "maybe not empty", one in the senders' end "maybe not
//!    full".
//! 2. A sender rings under its lock and *before* it commits, if the flag says that nobody has: send, then
//!    set the flag. Descriptors that go ahead of a message are a ring; after them the next message rings again.
//! 3. A receiver takes the bytes out and clears the flag only when it sees the ring empty while it holds
//!    both locks, and only then sleeps.
//! 4. The bell for space is the mirror image.
//! 5. Whoever inherits the senders' lock from the dead lets the next message ring again.
//! 6. When the socket hangs up, the kernel's word that nobody holds the other side, a receiver looks once
//!    more, under both locks, before it says so; and says so to all, so that nothing is sent after that.
//!
//! Never here: types of messages' faces, streams and sinks; they are above.

mod doorbell;
mod end;
mod end_serde;
mod error;
mod fds;
mod message;
mod outcome;
mod rx;
mod shm;
mod spsc;
mod tx;
mod unfinished;
mod wait;
mod waiters;

pub use error::{RecvError, SendError, TryRecvError, TrySendError};

pub(crate) use end::{End, create};
pub(crate) use rx::Receiving;
pub(crate) use tx::{Outbox, Sending};
pub(crate) use waiters::Waiter;

/// The most messages a channel can hold.
pub(crate) const MOST_MESSAGES: usize = crate::ring::MOST_FRAMES;
