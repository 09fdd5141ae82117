//! Pipes: one to one, in both directions, for messages and for bytes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../deadline/mod.rs"]
mod deadline;
#[path = "../leftovers/mod.rs"]
mod leftovers;
#[path = "../notes/mod.rs"]
mod notes;

mod bytes;
mod descriptors;
mod duplex;
mod moved;
mod moved_in_use;
mod shared;
mod tasks;
