//! One function in one process of its own.

mod attend;
mod builder;
mod handle;
mod stage;
mod stream;

pub use builder::{Process, ProcessBuilder, spawn};
pub use handle::ProcessHandle;
pub use stream::{ChildStderr, ChildStdin, ChildStdout};
