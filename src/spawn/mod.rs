//! Starting child processes. Runs in the parent.
//!
//! `launch` starts one, by `exec` or with the help of a `fork_server`.
//!
//! Must stay true: a process number is never signalled after it was reaped.
//!
//! Never here: what runs in a child, and which task goes to which worker.

mod child_guard;
mod fork_request;
mod fork_server;
mod inherited_state;
mod launch;
mod leaked;
mod link;
mod pending;
mod preload;
mod reaper;
mod registry;
mod spare;
mod start_method;

pub use fork_server::warm_up;
pub use registry::{ChildInfo, active_children};
pub use start_method::StartMethod;

pub(crate) use child_guard::{ChildGuard, SignalHandle};
pub(crate) use fork_server::ForkServer;
pub(crate) use launch::{ChildSpec, Launched, Source, Streams, launch};
pub(crate) use preload::Preload;
