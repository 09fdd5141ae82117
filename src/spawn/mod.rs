//! Starting child processes and owning them. Runs in the parent.
//!
//! [`launch`](launch::launch) starts a child. It asks a fork server for a fork, or executes the program again:
//!
//! - `fork_request` is complete before a fork server is chosen; `inherited_state` is its part that an executed child
//!   would have by itself, `greeting` its part that every child gets. Both are made of the child's `spec`, whose part
//!   that users choose is `surroundings`; `output` is where its streams go.
//! - `fork_server` starts and replaces fork servers, `connection` is a running fork server with its `preload` and its
//!   `spare`s, whose number follows from `demand`.
//! - `pending` is a child until it is known whether it exists; `release` is the message that a spare waits for.
//! - `exec` executes, with the `command` line and the `stdio_plan`.
//! - `link` is the parent's ends of the rings, `launched` everything about a started child.
//! - `child_guard` owns an unreaped child; `child_watch` notices that it will give no outcome; `tree_kill`, `reaper`,
//!   `leaked` and `registry` serve it.
//!
//! Must stay true: a pid is never signalled after it was reaped; a child that is not returned to the caller is killed
//! and reaped; a request is written again only after the earlier one was revoked.
//!
//! Never here: code that runs in a child, and which task goes to which worker.

mod child_guard;
mod child_watch;
mod command;
mod connection;
mod demand;
mod exec;
mod fork_request;
mod fork_server;
mod greeting;
mod inherited_state;
mod launch;
mod launched;
mod leaked;
mod link;
mod output;
mod pending;
mod preload;
mod reaper;
mod registry;
mod release;
mod spare;
mod spec;
mod start_method;
mod stdio_plan;
mod surroundings;
mod tree_kill;

pub use fork_server::warm_up;
pub use output::Output;
pub use registry::{ChildInfo, active_children};
pub use start_method::StartMethod;

pub(crate) use child_guard::{ChildEnd, ChildGuard, SignalHandle};
pub(crate) use fork_server::ForkServer;
pub(crate) use launch::{ChildSource, launch};
pub(crate) use launched::Launched;
pub(crate) use link::{LaneLink, Ties};
pub(crate) use output::OutputFds;
pub(crate) use preload::{Preload, PreloadResult};
pub(crate) use spec::{ChildSpec, OwnCgroup, StdioSpec};
pub(crate) use surroundings::{Surroundings, surroundings_setters};
