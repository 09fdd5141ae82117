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

mod batch;
mod builder;
mod burial;
mod core;
mod delivery;
mod doom;
mod driver;
mod front;
mod gather;
mod hiring;
mod info;
mod map;
mod map_future;
mod metrics;
mod preparation;
mod record;
mod run;
mod staff;
mod task_handle;

pub use builder::PoolBuilder;
pub use front::{Pool, Shutdown};
pub use info::{WorkerInfo, WorkerState};
pub use map::Map;
pub use map_future::MapFuture;
pub use metrics::{Histogram, Metrics};
pub use run::Run;
pub use task_handle::TaskHandle;
