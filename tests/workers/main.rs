//! Workers that cannot start: what their tasks are told, and who runs them instead.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../deadline/mod.rs"]
mod deadline;
#[path = "../notes/mod.rs"]
mod notes;

mod initializer;
mod late_arguments;
mod limits;
mod reentrance;
