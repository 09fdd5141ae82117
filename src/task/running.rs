//! What a child knows of the tasks that it runs.
//!
//! Runs in the child. Most children run one task at a time: all of their threads find the same record. A worker with
//! several lanes has a record for each lane. The thread of a lane finds its own. Other threads find a record without a
//! task, because it is not known for which task they work.
//!
//! Must stay true: to find the record costs no lock and no allocation.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use tokio::sync::Notify;

use super::traceparent::Traceparent;
use crate::ring::Ring;

/// The task that a process or a lane runs.
#[derive(Debug)]
pub(super) struct RunningTask {
    /// 0 between tasks.
    pub(super) id: AtomicU64,
    /// The number of its request; 0 between tasks.
    pub(super) request: AtomicU64,
    /// The number of the last request whose task was asked to stop.
    pub(super) cancelled: AtomicU64,
    /// Notified when a task is asked to stop.
    pub(super) cancellation: Notify,
    /// The place of the running item in the input of its map; 0 for a call that is not of a map.
    pub(super) place: AtomicU64,
    pub(super) trace: Mutex<Option<Traceparent>>,
    /// The request ring with the word for signs of life. `None` in a process that is no child.
    pub(super) ring: OnceLock<Ring>,
}

impl RunningTask {
    const fn new() -> Self {
        Self {
            id: AtomicU64::new(0),
            request: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            cancellation: Notify::const_new(),
            place: AtomicU64::new(0),
            trace: Mutex::new(None),
            ring: OnceLock::new(),
        }
    }

    /// Whether it is the record of the whole process.
    pub(super) fn is_of_process(&self) -> bool {
        std::ptr::eq(self, &ONLY)
    }

    /// Whether the task that runs was asked to stop.
    pub(super) fn is_cancelled(&self) -> bool {
        let request = self.request.load(Ordering::Acquire);
        request != 0 && self.cancelled.load(Ordering::Acquire) == request
    }
}

/// The record of a process that runs one task at a time.
static ONLY: RunningTask = RunningTask::new();

/// The records of the lanes of a worker that has several.
static LANES: OnceLock<Box<[RunningTask]>> = OnceLock::new();

thread_local! {
    /// That of this thread, if it runs the tasks of a lane.
    static CURRENT: Cell<Option<&'static RunningTask>> = const { Cell::new(None) };
}

/// This worker has lanes with these request rings. Called before they run anything.
pub(crate) fn set_lanes(rings: impl IntoIterator<Item = Ring>) {
    let lanes = rings.into_iter().map(|ring| {
        let lane = RunningTask::new();
        let _ = lane.ring.set(ring);
        lane
    });
    let _ = LANES.set(lanes.collect());
}

/// This thread runs the tasks of the lane with this index, if this worker has several.
pub(crate) fn enter_lane(index: usize) {
    if let Some(lane) = lanes().get(index) {
        CURRENT.set(Some(lane));
    }
}

/// The record of a process that runs one task at a time.
pub(super) fn process() -> &'static RunningTask {
    &ONLY
}

/// The record of this thread.
#[inline]
pub(super) fn current() -> &'static RunningTask {
    CURRENT.get().unwrap_or(&ONLY)
}

/// The record of the lane with this index; that of the process if it has one lane.
pub(super) fn of_lane(index: usize) -> &'static RunningTask {
    lanes().get(index).unwrap_or(&ONLY)
}

/// The records of all lanes of a worker that has several.
pub(super) fn lanes() -> &'static [RunningTask] {
    LANES.get().map_or(&[], |lanes| lanes)
}
