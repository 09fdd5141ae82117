//! Every kind of error, from every place it can come from.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "what a task is given is its own"
)]

#[path = "../deadline/mod.rs"]
mod deadline;
#[path = "../leftovers/mod.rs"]
mod leftovers;
#[path = "../notes/mod.rs"]
mod notes;
#[path = "../tasks/mod.rs"]
mod tasks;

mod bomb;
mod encoding;
mod expected;
mod faults;
mod panics;
mod runtimes;
mod start;

use std::process::Stdio;

use procession::{JoinError, Process, Task};

use crate::deadline::within;

/// A process that says nothing: what its tasks cry while they fail is not for the terminal.
pub(crate) fn quiet() -> procession::ProcessBuilder {
    Process::builder().stderr(Stdio::null())
}

/// Calls `f`, which fails, and gives the error and the number of the process.
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
