//! Queues: each message reaches one receiver, and the stream ends after the last one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../asleep/mod.rs"]
mod asleep;
#[path = "../deadline/mod.rs"]
mod deadline;
#[path = "../executor/mod.rs"]
mod executor;
#[path = "../leftovers/mod.rs"]
mod leftovers;
#[path = "../notes/mod.rs"]
mod notes;

mod arguments;
mod calls;
mod cancel;
mod capacity;
mod close;
mod codec;
mod dropped;
mod join;
mod large;
mod message_limit;
mod model;
mod order;
mod other_executors;
mod overwritten;
mod own_ends;
mod runtimes;
mod tasks;
mod travel;
