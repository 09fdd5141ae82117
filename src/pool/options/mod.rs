//! The options of a pool and of its calls. Runs in the application.
//!
//! `builder` has the constructors, `worker_options`, `tasks_per_worker` and `flow_options` the rest of its setters.
//! `cgroup` makes the control groups of workers. `call_options` are those of one call, `shared_options` are what most
//! tasks of a pool have in common.

pub(super) mod builder;
pub(super) mod call_options;
pub(super) mod cgroup;
pub(super) mod flow_options;
pub(super) mod retry_rule;
pub(super) mod shared_options;
pub(super) mod tasks_per_worker;
pub(super) mod worker_limits;
pub(super) mod worker_options;
pub(super) mod worker_surroundings;
