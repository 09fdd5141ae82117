//! One function in one process of its own.

mod builder;
mod handle;
mod state;
mod stdio;
mod supervisor;

pub use builder::{Process, ProcessBuilder, spawn};
pub use handle::ProcessHandle;
pub use stdio::{ChildStderr, ChildStdin, ChildStdout};
