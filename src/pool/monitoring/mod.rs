//! What a pool shows of itself: counts, events, workers. Runs in the application.

pub(super) mod event_log;
pub(super) mod histogram;
pub(super) mod info;
pub(super) mod metrics;
pub(super) mod pool_event;
pub(super) mod recent_time;
pub(super) mod recycle_reason;
