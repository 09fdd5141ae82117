//! One function in a process of its own.
//!
//! Runs in the parent. `builder` collects the options and creates a handle; `supervisor` is the task that starts the
//! process, waits for its end and delivers the outcome; `state` is what both share.
//!
//! Must stay true: every handle resolves, also when the process cannot be started or the runtime shuts down.
//!
//! Never here: how a child is forked or executed, which `spawn` does.

mod builder;
mod handle;
mod outcome_guard;
mod state;
mod stdio;
mod supervisor;

pub use builder::{Process, ProcessBuilder, spawn};
pub use handle::ProcessHandle;
pub use stdio::{ChildStderr, ChildStdin, ChildStdout};
