//! One way between processes: a ring in shared memory, and a socket that is the doorbell of both sides, carries
//! descriptors and tells when a side is gone.
//!
//! All of it runs in every process that has an end. What a killed process had written halfway lies beyond the committed
//! part of the ring and is overwritten.
//!
//! There are two flavors. Each side of a pipe's channel is in one process at a time; its protocol, which needs no lock,
//! is in [`spsc`]. Each side of a queue's channel is in any number of processes. Its protocol is in [`mpmc`]. It has
//! survived tens of thousands of kills, where simpler protocols lost wake-ups:
//! 1. The doorbell is a level, not an event. A byte in the receivers' end of the socket means "maybe not empty", a byte
//!    in the senders' end means "maybe not full".
//! 2. A sender rings under the senders' lock and *before* it commits, if the flag says that no sender has rung: it
//!    rings, then sets the flag. Descriptors ahead of a message are a ring, and the next message rings again.
//! 3. A receiver takes the bytes out and clears the flag only if it sees the ring empty while it holds both locks. Only
//!    then it sleeps.
//! 4. The doorbell for space is the mirror image.
//! 5. A process that gets the senders' lock after its holder died has the next message ring again. A process that gets
//!    the receivers' lock in this way finds out whether the dead receiver had taken its message.
//! 6. When the socket hangs up, which is how the kernel says that no process has the other side, a receiver looks once
//!    more, under both locks. Before it reports the end it marks the channel as closed, so that nothing is sent after
//!    that.
//! 7. A message for which the ring has no room, while fewer messages than the capacity wait, lies in the unmapped part
//!    of the memory ([`spill`]). A frame in the ring names it. A sender does this instead of sleeping.
//!
//! Both locks are tried and never waited for. They are words of the crate's own ([`lock`](crate::lock)): whatever a
//! process writes over them, the others neither crash nor wait for a process that has ended. A holder that finds,
//! before it commits, that its lock was taken over commits nothing. A lock is held for long only by a thread that may
//! block, which copies a message of more than 1 MiB.
//!
//! A reader that finds in the memory what no process of this program writes there ends the channel, for all processes
//! ([`trust`]): each receiving end tells its users once, and each error of a sending end says so. A message that is
//! wrong about itself alone is an error of that message: it was received, and does not decode. More rings than a socket
//! holds are no nonsense here, as they are from a worker, because many honest receivers may ring. They are taken a
//! bounded number at a time.
//!
//! Never here: the public types, except for errors; they are in `queue` and `pipe`.

mod attempt;
mod bounds;
mod bytes_sent;
mod decoding;
mod doorbell;
mod encoding;
mod end;
mod error;
mod face;
mod fds;
mod flavor;
mod frame;
mod memory_wait;
mod message;
mod mpmc;
mod mpmc_bell;
mod mpmc_spill;
mod orphaned;
mod patience;
mod peer;
mod room;
mod rx;
mod shm;
mod spill;
mod spilling;
mod spsc;
mod trust;
mod tx;
mod unfinished;
mod wait;
mod waiters;

pub use error::{RecvError, SendError, TryRecvError, TrySendError};

pub(crate) use bounds::Bounds;
pub(crate) use face::{receiver_face, sender_face};
pub(crate) use flavor::{Flavor, create, create_within};
pub(crate) use mpmc::Mpmc;
pub(crate) use rx::Rx;
pub(crate) use spsc::Spsc;
pub(crate) use tx::{Outbox, Sending, Tx};
pub(crate) use wait::poll_news;
pub(crate) use waiters::Waiter;

/// The most messages a channel can hold.
pub(crate) const MOST_MESSAGES: usize = crate::ring::MOST_FRAMES;
