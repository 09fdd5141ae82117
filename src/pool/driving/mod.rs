//! The only task of a pool that waits, and what it performs. Runs in the application.
//!
//! `driver` reads replies (`reply_inbox`, `worker_replies`, `ledger`) and events (`events`), reports what it has found
//! (`findings`) to the core, and gives jobs their outcomes (`delivery`). `effects` performs what the core decided:
//! `start_worker` starts processes with their requests for `initializer`s, `exit_call` ends them. `trim` says when idle
//! memory is freed.
//!
//! Must stay true: only the driver waits, and it holds no lock while it does.

pub(super) mod captured_output;
pub(super) mod delivery;
pub(super) mod driver;
pub(super) mod effects;
pub(super) mod events;
pub(super) mod exit_call;
pub(super) mod findings;
pub(super) mod initializer;
pub(super) mod ledger;
pub(super) mod memory_watch;
pub(super) mod reply_inbox;
pub(super) mod start_worker;
pub(super) mod time_limit;
pub(super) mod trim;
pub(super) mod worker_bell;
pub(super) mod worker_replies;
