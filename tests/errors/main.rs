//! `JoinError`: every kind, from every place that it can come from. One file for each topic.
//!
//! This file has what several topics use.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "arguments of tasks are owned values"
)]

#[path = "../deadline/mod.rs"]
mod deadline;
#[path = "../leftovers/mod.rs"]
mod leftovers;
#[path = "../notes/mod.rs"]
mod notes;
#[path = "../tasks/mod.rs"]
mod tasks;

mod crashes;
mod encoding;
mod expected;
mod faults;
mod faulty;
mod nesting;
mod panics;
mod runtimes;
mod source;
mod start;

use std::process::Stdio;

use procession::{JoinError, Process, Task};

use crate::deadline::within;

/// A process without stderr, so that the messages of panics do not fill the output of the test.
pub(crate) fn quiet() -> procession::ProcessBuilder {
    Process::builder().stderr(Stdio::null())
}

/// Calls `f`, which fails, and returns the error and the pid of the process.
pub(crate) async fn failure<F, M, A>(f: F, args: A) -> (JoinError, Option<u32>)
where
    F: Task<M, A>,
{
    let mut handle = quiet().spawn(f, args);
    let outcome = within(&mut handle).await;
    match outcome {
        Ok(_) => panic!("`{}` was expected to fail", std::any::type_name::<F>()),
        Err(error) => (error, handle.pid()),
    }
}
