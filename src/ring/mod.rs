//! A ring of frames in shared memory: one producer, one consumer, in one process or in two.
//!
//! A single-producer single-consumer queue after Lamport ("Specifying Concurrent Program Modules",
//! TOPLAS 1983): `head` counts the bytes ever committed and is written by the producer only, `tail`
//! the bytes ever released and is written by the consumer only. Each side keeps a private copy of its own counter.
//! Each side checks the shared copy of the other's counter before it uses it.
//!
//! The data is mapped twice in a row, so a frame that wraps is contiguous in memory. A *flat* ring is mapped once and
//! takes only the frames that fit before its end: it serves processes that exchange a few frames.
//!
//! ```text
//!  control page                              data                     data again
//! ┌──────┬──────┬────────────┬────────────┐ ┌───────────────────────┐┌──────────────
//! │ head │ tail │ consumer   │ producer   │ │ frame │ frame │       ││ frame │ fra…
//! │      │      │ sleeps     │ sleeps     │ │       │       │       ││       │
//! └──────┴──────┴────────────┴────────────┘ └───────────────────────┘└──────────────
//! ```
//!
//! Must stay true:
//! - Commit is one store of `head`. A frame that a killed producer had half written lies beyond `head`. The next frame
//!   overwrites it, unless the parent salvages it first ([`Consumer::beyond`]).
//! - A consumer ends the ring by a compare-exchange that sets a bit of `head`, and only while the ring is empty. A
//!   producer of such a ring commits by compare-exchange: one of the two operations fails.
//! - Sleeping: store the flag, a SeqCst fence, look again, sleep. Waking: store the counter, a SeqCst
//!   fence, look at the flag. One of the two sides sees the other's store, so no wake-up is lost (Dekker).
//! - A counter or length that does not fit is an error ([`Corrupt`]), never an access.
//!
//! Never here: doorbells, futexes, the meaning of a frame. A side that finds the other asleep reports it to its
//! caller, which wakes the sleeper.

mod consumer;
mod layout;
mod producer;

pub(crate) use consumer::{Consumer, Corrupt, Frame};
pub(crate) use layout::{Cursor, MOST_FRAMES, Ring, frame_bytes};
pub(crate) use producer::{Producer, Writer};

#[cfg(test)]
mod tests;
