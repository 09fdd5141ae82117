//! Pools whose workers each hold a state. Runs in the application.
//!
//! The forms of a call are those of `calls`, over a state. `only_worker` is a pool of one worker.

pub(super) mod only_worker;
pub(super) mod state_lease;
pub(super) mod state_permit;
pub(super) mod state_pool;
pub(super) mod state_stream;
