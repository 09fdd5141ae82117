//! What a pool's handles, its driver and its helper threads share.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::core::Core;
use super::events::Event;
use crate::sys::clock::Moment;
use crate::sys::doorbell::Doorbell;
use crate::transfer::blob::BlobPool;

/// What the pool's handles, its driver and the threads that work for it share.
pub(super) struct Shared {
    core: Mutex<Core>,
    pub(super) runtime: Handle,
    pub(super) news: mpsc::UnboundedSender<Event>,
    pub(super) bell: Doorbell,
    pub(super) blobs: Arc<Mutex<BlobPool>>,
    pub(super) settled: watch::Sender<bool>,
    pub(super) completed: AtomicU64,
    pub(super) failed: AtomicU64,
    /// When the driver looks by itself, as the bits of a moment; 0 while it is awake. Put forward
    /// only under the core's lock.
    alarm: AtomicU64,
}

impl Shared {
    pub(super) fn new(
        core: Core,
        runtime: Handle,
        news: mpsc::UnboundedSender<Event>,
        bell: Doorbell,
    ) -> Self {
        Self {
            core: Mutex::new(core),
            runtime,
            news,
            bell,
            blobs: Arc::default(),
            settled: watch::Sender::new(false),
            completed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            alarm: AtomicU64::new(0),
        }
    }

    /// Looks at what the pool knows.
    pub(super) fn look<T>(&self, f: impl FnOnce(&Core) -> T) -> T {
        f(&self.lock())
    }

    /// Takes the core's lock, and tells the core the time.
    pub(super) fn lock(&self) -> MutexGuard<'_, Core> {
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        core.now = Moment::now();
        core
    }

    /// Whether the driver sleeps longer than until `at`. Called under the core's lock.
    pub(super) fn driver_sleeps_past(&self, at: Moment) -> bool {
        at.to_bits() < self.alarm.load(Ordering::Relaxed)
    }

    /// The driver is awake: it looks at everything before it sleeps.
    pub(super) fn driver_wakes(&self) {
        self.alarm.store(0, Ordering::Relaxed);
    }

    /// The driver falls asleep until its alarm, which is put forward to when the pool has something to
    /// look at. Returns the alarm.
    pub(super) fn driver_sleeps(&self, alarm: Option<Moment>) -> Option<Moment> {
        self.look(|core| {
            let alarm = core.next_run().into_iter().chain(alarm).min();
            let bits = alarm.map_or(u64::MAX, Moment::to_bits);
            self.alarm.store(bits, Ordering::Relaxed);
            alarm
        })
    }

    pub(super) fn store(&self) -> MutexGuard<'_, BlobPool> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
