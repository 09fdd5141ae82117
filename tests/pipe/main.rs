//! Pipes: one process at either end, in one direction or in both, for messages or for bytes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../asleep/mod.rs"]
mod asleep;
#[path = "../deadline/mod.rs"]
mod deadline;
#[path = "../leftovers/mod.rs"]
mod leftovers;
#[path = "../notes/mod.rs"]
mod notes;

mod bytes;
mod close;
mod descriptors;
mod duplex;
mod moved;
mod moved_in_use;
mod shared;
mod tasks;
