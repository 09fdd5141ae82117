//! The largest and the smallest values of every option: none panics, none waits for ever, and "for ever" is not "at
//! once".

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../deadline/mod.rs"]
mod deadline;

mod pool;
mod process;
