//! One ring of bytes in shared memory: one producer, one consumer, in one process or two.
//!
//! A single-producer single-consumer queue after Lamport ("Specifying Concurrent Program Modules",
//! TOPLAS 1983): `head` counts the bytes ever committed and is written by the producer only, `tail`
//! those ever released and is written by the consumer only. Each side keeps a private copy of its
//! own counter and believes the shared copy of the other's only after checking it.
//!
//! The data is mapped twice in a row, so a frame that wraps is contiguous all the same. Where a few frames are all
//! there will ever be, that is not worth it: a flat ring is mapped once, and takes what fits before its end.
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
//! - Commit is one store of `head`. What a killed producer had half written lies beyond it and is
//!   overwritten, or salvaged by whoever knows how ([`Consumer::beyond`]).
//! - A consumer that wants to know that nothing more comes sets a bit of `head` by compare-exchange, when the ring is
//!   empty. A producer that minds it commits by compare-exchange: one of the two fails.
//! - Sleeping: store the flag, a SeqCst fence, look again, sleep. Waking: store the counter, a SeqCst
//!   fence, look at the flag. One of the two sees the other, so no wake-up is lost (Dekker).
//! - A counter or length that does not fit is an error ([`Corrupt`]), never an access.
//!
//! Never here: bells, futexes, what a frame means. A side that finds the other asleep says so, and
//! its owner wakes it in the way it sleeps.

mod consumer;
mod control;
mod producer;

pub(crate) use consumer::{Consumer, Corrupt, Frame};
pub(crate) use control::{Cursor, MOST_FRAMES, Ring};
pub(crate) use producer::{Producer, Writer};

#[cfg(test)]
mod tests;
