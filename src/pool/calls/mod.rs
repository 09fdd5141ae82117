//! One call, in every form in which users make it. Runs in the application; `emit` and `stream_task` run in the worker
//! too.
//!
//! `run` is awaited, `task_handle` was submitted, `task_set` has many, `task_stream` gives items while it runs. `lease`
//! and `broadcast` choose the worker. In a queue with limits, a call has a `ticket`, which its user may hold as a
//! `permit`.

pub(super) mod broadcast;
pub(super) mod cached;
pub(super) mod emit;
pub(super) mod full;
pub(super) mod item_stream;
pub(super) mod lease;
pub(super) mod permit;
pub(super) mod run;
pub(super) mod stream_task;
pub(super) mod task_handle;
pub(super) mod task_set;
pub(super) mod task_stream;
pub(super) mod ticket;
