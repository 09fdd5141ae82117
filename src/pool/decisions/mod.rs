//! What a pool knows under one lock, and what it decides. Runs in the application; performs nothing.
//!
//! `core` has `records` of tasks and the `worker_table`; a worker's life is in `worker_state`. The core's topics are
//! files of their own: tasks come in (`room`, `admission`, `dispatch`, `pinned`), are moved (`balance`), replied to
//! (`replies`, `rerun`, `retry`), cancelled (`cancel`) and given up (`expiry`). Workers are started (`worker_count`,
//! `worker_start`, `start_failures`, `lanes`), told what to do (`workers`), lent out (`leases`), replaced (`recycling`
//! with `departure` and `restart`, `exit_request`) and lost (`worker_exit`, `worker_death`, `lane_fault`).
//! `observation` and `utilisation` are what is shown. The `agenda` says which workers a turn looks at, `upkeep` when a
//! turn must be. `tick` has the order of the driver's steps, `close` the end.
//!
//! Must stay true: no user code runs here; an effect is performed by `driving`, after the lock is released.

pub(super) mod admission;
pub(super) mod agenda;
pub(super) mod backoff;
pub(super) mod balance;
pub(super) mod cancel;
pub(super) mod close;
pub(super) mod core;
pub(super) mod deadlines;
pub(super) mod departure;
pub(super) mod dispatch;
pub(super) mod exit_request;
pub(super) mod exit_stage;
pub(super) mod expiry;
pub(super) mod lane_fault;
pub(super) mod lanes;
pub(super) mod leases;
pub(super) mod observation;
pub(super) mod pinned;
pub(super) mod records;
pub(super) mod recycling;
pub(super) mod replies;
pub(super) mod rerun;
pub(super) mod restart;
pub(super) mod retry;
pub(super) mod room;
pub(super) mod segments;
pub(super) mod start_failures;
pub(super) mod target;
pub(super) mod tick;
pub(super) mod upkeep;
pub(super) mod utilisation;
pub(super) mod worker_count;
pub(super) mod worker_death;
pub(super) mod worker_exit;
pub(super) mod worker_start;
pub(super) mod worker_state;
pub(super) mod worker_table;
pub(super) mod workers;
