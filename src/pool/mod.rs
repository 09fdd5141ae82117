//! Many calls on a few processes. Runs in the application.
//!
//! What users hold: `pool`, `builder` with `worker_options` and `flow_options`, `run`, `task_handle`, `permit`, `task_set`,
//! `task_stream` with `emit` and `stream_task`, `lease`, `broadcast`, `cached`, `map` and its parts, `state_pool` with `state_permit`,
//! `state_lease` and `state_stream`, `info`, `metrics`, `shutdown`. A call in
//! a queue with limits has a `ticket`, a map its `map_places`.
//! `pool_guard` keeps the pool alive; `shared` is what all parts of a pool share.
//!
//! The one task that waits: `driver` reads replies (`worker_replies`) and events (`events`), reports what it has found
//! (`findings`) to the core, and gives jobs their outcomes (`delivery`). `start_worker` starts processes with their
//! requests for `initializer`s; `trim` says when idle memory is freed.
//!
//! What is known, under one lock: `core`, with `records` of tasks and the `worker_table`. A worker's life is in
//! `worker_state`. The core's topics are files of their own: `dispatch`, `replies`, `cancel`, `balance`, `workers`,
//! `worker_count`, `recycling` with `departure` and `restart`, `exit_request`, `start_failures`, `worker_exit`, `retry`,
//! `pinned`, `close`, `room` with `admission`, `observation` with `utilisation`, and `tick`, which has the order of the
//! driver's steps. `effects` performs what the core
//! decided. Which task runs where is the [`schedule`](crate::schedule)'s to decide.
//!
//! Must stay true: every accepted task gets exactly one outcome. The core's lock is held no longer than it takes to
//! write requests. User code (a `Serialize`, a `Deserialize`, a `Drop`, a `Waker`) never runs under it: arguments are
//! encoded before the lock is taken. Only the driver waits.

mod builder;
mod flow_options;
mod histogram;
mod info;
mod metrics;
#[expect(clippy::module_inception, reason = "the pool itself")]
mod pool;
mod pool_event;
mod pool_guard;
mod recycle_reason;
mod restart_future;
mod shutdown;
mod shutdown_report;
mod worker_options;

mod call_options;
mod full;
mod only_worker;
mod permit;
mod reply_inbox;
mod run;
mod state_lease;
mod state_permit;
mod state_pool;
mod state_stream;
mod task_handle;
mod ticket;

mod broadcast;
mod cached;
mod emit;
mod lease;
mod stream_task;
mod task_set;
mod task_stream;

mod collect_all;
mod ledger;
mod map;
mod map_batch;
mod map_future;
mod map_input;
mod map_places;
mod map_results;
#[cfg(feature = "indicatif")]
mod progress_bar;
mod read_ahead;

mod captured_output;
mod delivery;
mod driver;
mod effects;
mod event_log;
mod events;
mod exit_call;
mod exit_stage;
mod findings;
mod initializer;
mod memory_watch;
mod shared;
mod start_worker;
mod time_limit;
mod trim;
mod worker_bell;
mod worker_replies;

mod admission;
mod backoff;
mod balance;
mod cancel;
mod close;
mod core;
mod deadlines;
mod departure;
mod dispatch;
mod exit_request;
mod expiry;
mod observation;
mod pinned;
mod recent_time;
mod records;
mod recycling;
mod replies;
mod rerun;
mod restart;
mod retry;
mod retry_rule;
mod room;
mod segments;
mod shared_options;
mod start_failures;
mod target;
mod tick;
mod utilisation;
mod worker_count;
mod worker_exit;
mod worker_limits;
mod worker_state;
mod worker_surroundings;
mod worker_table;
mod workers;

#[cfg(test)]
mod tests;

pub use broadcast::Broadcast;
pub use builder::PoolBuilder;
pub use cached::Cached;
pub use collect_all::CollectAll;
pub use emit::Emit;
pub use event_log::PoolEvents;
pub use full::Full;
pub use histogram::Histogram;
pub use info::{WorkerInfo, WorkerState};
pub use lease::{Lease, LeaseRequest};
pub use map::Map;
pub use map_future::MapFuture;
pub use metrics::Metrics;
pub use permit::{Permit, PermitFuture};
pub use pool::Pool;
pub use pool_event::PoolEvent;
pub use recycle_reason::RecycleReason;
pub use restart_future::Restart;
pub use run::Run;
pub use shutdown::Shutdown;
pub use shutdown_report::ShutdownReport;
pub use state_lease::{StateLease, StateLeaseRequest};
pub use state_permit::{StatePermit, StatePermitFuture};
pub use state_pool::{StatePool, StatePoolBuilder};
pub use state_stream::StateStreamTask;
pub use stream_task::StreamTask;
pub use task_handle::TaskHandle;
pub use task_set::TaskSet;
pub use task_stream::TaskStream;
