//! Many calls on a few processes. Runs in the application.
//!
//! - `pool` is what users hold; `pool_guard` keeps it alive; `shared` is what all parts of a pool share. `shutdown` and
//!   `restart_future` wait for its end and for new workers.
//! - `options`: what a builder and a call can set.
//! - `calls`: one call, in every form.
//! - `maps`: one function over many items.
//! - `state`: pools whose workers each hold a state.
//! - `monitoring`: what a pool shows of itself.
//! - `driving`: the only task that waits; it performs what was decided.
//! - `decisions`: what is known under one lock, and what it decides. Which task runs where is the
//!   [`schedule`](crate::schedule)'s to decide.
//!
//! Must stay true: every accepted task gets exactly one outcome. The core's lock is held no longer than it takes to
//! write requests. User code (a `Serialize`, a `Deserialize`, a `Drop`, a `Waker`) never runs under it: arguments are
//! encoded before the lock is taken. Only the driver waits.

mod calls;
mod decisions;
mod driving;
mod maps;
mod monitoring;
mod options;
#[expect(clippy::module_inception, reason = "the pool itself")]
mod pool;
mod pool_guard;
mod restart_future;
mod shared;
mod shutdown;
mod shutdown_report;
mod state;

#[cfg(test)]
mod tests;

pub use calls::broadcast::Broadcast;
pub use calls::cached::Cached;
pub use calls::emit::Emit;
pub use calls::full::Full;
pub(crate) use calls::item_stream::ItemStream;
pub use calls::lease::{Lease, LeaseRequest};
pub use calls::permit::{Permit, PermitFuture};
pub use calls::run::Run;
pub use calls::stream_task::StreamTask;
pub use calls::task_handle::TaskHandle;
pub use calls::task_set::TaskSet;
pub use calls::task_stream::TaskStream;
pub use maps::collect_all::CollectAll;
pub use maps::map::Map;
pub use maps::map_future::MapFuture;
pub use monitoring::event_log::PoolEvents;
pub use monitoring::histogram::Histogram;
pub use monitoring::info::{WorkerInfo, WorkerState};
pub use monitoring::metrics::Metrics;
pub use monitoring::pool_event::PoolEvent;
pub use monitoring::recycle_reason::RecycleReason;
pub use options::builder::PoolBuilder;
pub use options::cgroup::Cgroup;
pub use pool::Pool;
pub use restart_future::Restart;
pub use shutdown::Shutdown;
pub use shutdown_report::ShutdownReport;
pub use state::state_lease::{StateLease, StateLeaseRequest};
pub use state::state_permit::{StatePermit, StatePermitFuture};
pub use state::state_pool::{StatePool, StatePoolBuilder};
pub use state::state_stream::StateStreamTask;
