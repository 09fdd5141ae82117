//! Many calls on a few processes.
//!
//! `core` holds what is known about tasks and workers, under one lock that is held for no longer than
//! it takes to write a request; `driver` is the one task that reads all replies, starts and buries
//! workers and keeps time; `front` is what a [`Pool`] and its handles hold. What decides is
//! [`schedule`](crate::schedule).
//!
//! Must stay true: user code (a `Drop`, a `Waker`, a `Deserialize`) never runs under the core's lock, except
//! the `Serialize` of small arguments, which writes straight into a worker's ring; every task that was
//! taken gets exactly one outcome; only the driver waits.

mod balance;
mod builder;
mod call_options;
mod cancel;
mod close;
mod core;
mod delivery;
mod dispatch;
mod driver;
mod effects;
mod events;
mod info;
mod initializer;
mod map;
mod map_batch;
mod map_future;
mod map_input;
mod map_results;
mod metrics;
#[expect(clippy::module_inception, reason = "the pool itself")]
mod pool;
mod pool_guard;
mod read_ahead;
mod records;
mod replies;
mod run;
mod shared;
mod start_worker;
mod task_handle;
mod worker_exit;
mod worker_state;
mod worker_table;
mod workers;

pub use builder::PoolBuilder;
pub use info::{WorkerInfo, WorkerState};
pub use map::Map;
pub use map_future::MapFuture;
pub use metrics::{Histogram, Metrics};
pub use pool::{Pool, Shutdown};
pub use run::Run;
pub use task_handle::TaskHandle;
