//! A queue keeps every message, gives it to one receiver, and says when there will be no more.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../deadline/mod.rs"]
mod deadline;
#[path = "../leftovers/mod.rs"]
mod leftovers;
#[path = "../notes/mod.rs"]
mod notes;

mod arguments;
mod cancel;
mod close;
mod codec;
mod dropped;
mod forms;
mod join;
mod large;
mod model;
mod order;
mod runtimes;
mod tasks;
mod travel;
