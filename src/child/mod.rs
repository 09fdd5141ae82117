//! The child's side. Runs in child processes, from their entry to their exit.
//!
//! [`serve`] never returns. `role` reads the greeting and chooses:
//!
//! - `pool_worker` runs requests in one thread and reads the control socket in another. A worker of several tasks at a
//!   time has a thread for each (`lanes`).
//! - `single` runs one request and exits.
//! - `fork_server` forks children. A fork is greeted like an executed child, or waits as a `spare`; it adopts what its
//!   `ForkSpec` says in `fork_setup`. When the application has ended, `forked_children` continues what is stopped.
//! - `stdio_helper` sends its stdin back.
//!
//! `control` handles messages, `setup` applies the greeting, `server_state` is what a fork server hands down,
//! `announce` tells the parent about a fork, and `task_thread` finds a thread that can enter a runtime.
//!
//! Must stay true: a child ends when its parent has ended, unless it is detached; a fork server has one thread, and no
//! descriptor but its control socket and the standard streams.
//!
//! Never here: code that runs in the application.

mod announce;
mod control;
mod fork_server;
mod fork_setup;
mod forked_children;
mod lanes;
mod pool_worker;
mod role;
mod server_state;
mod setup;
mod single;
mod spare;
mod stdio_helper;
mod task_thread;

pub(crate) use role::serve;
