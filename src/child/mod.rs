//! What runs in a child process.
//!
//! Never here: anything that runs in the parent.

mod fork_server;
mod role;
mod single;

pub(crate) use role::serve;
