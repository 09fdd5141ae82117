//! What a pool's handles, its driver and its helper threads share.
//!
//! Must stay true: the core's lock is held no longer than it takes to write requests, and no user code runs under it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures::future::FutureExt as _;
use tokio::sync::{mpsc, oneshot};

use super::decisions::core::{Core, Phase, Settings};
use super::driving::events::DriverEvent;
use super::monitoring::event_log::EventLog;
use super::options::shared_options::SharedOptions;
use crate::background::Background;
use crate::sys::clock::Moment;
use crate::sys::process_mark::ProcessMark;

/// Resolves when the driver is dropped, which drops the sender.
pub(super) type Ended = futures::future::Shared<oneshot::Receiver<()>>;

/// See the module.
pub(super) struct PoolShared {
    core: Mutex<Core>,
    /// The process that the pool lives in.
    mark: ProcessMark,
    /// In a copy of that process: a core of a pool that is over. The other's lock may be held there for ever.
    core_of_copy: OnceLock<Box<Mutex<Core>>>,
    pub(super) settings: Arc<Settings>,
    /// The options of calls that do not choose themselves.
    pub(super) defaults: SharedOptions,
    /// The driver, and the futures that start workers and wait for their ends.
    pub(super) background: Arc<Background>,
    /// Where the driver is told events.
    pub(super) events: mpsc::UnboundedSender<DriverEvent>,
    pub(super) ended: Ended,
    /// The readers of the pool's events.
    pub(super) event_log: EventLog,
    /// Calls that returned a value, and calls that gave an error of their own.
    pub(super) completed: AtomicU64,
    pub(super) failed: AtomicU64,
    /// When the sleeping driver wakes by itself, as the bits of a moment; 0 while the driver is awake. Set to another
    /// value than 0 only under the core's lock.
    alarm: AtomicU64,
    #[cfg(test)]
    locks: std::sync::atomic::AtomicUsize,
}

impl PoolShared {
    /// The shared part of a pool whose driver receives from the other end of `events`, and drops the other end of
    /// `ended` when it is dropped.
    pub(super) fn new(
        settings: Settings,
        events: mpsc::UnboundedSender<DriverEvent>,
        ended: oneshot::Receiver<()>,
    ) -> Self {
        let settings = Arc::new(settings);
        Self {
            core: Mutex::new(Core::new(Arc::clone(&settings))),
            mark: ProcessMark::here(),
            core_of_copy: OnceLock::new(),
            defaults: settings.defaults().into(),
            settings,
            background: Background::here(),
            events,
            ended: ended.shared(),
            event_log: EventLog::default(),
            completed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            alarm: AtomicU64::new(0),
            #[cfg(test)]
            locks: std::sync::atomic::AtomicUsize::new(0),
        }
    }

    /// Takes the core's lock, and tells the core the time.
    pub(super) fn lock(&self) -> MutexGuard<'_, Core> {
        #[cfg(test)]
        self.locks.fetch_add(1, Ordering::Relaxed);
        let core = match self.mark.is_here() {
            true => &self.core,
            false => self.core_of_copy.get_or_init(|| self.over_core()),
        };
        let mut core = core.lock().unwrap_or_else(PoisonError::into_inner);
        core.now = Moment::now();
        core
    }

    #[cold]
    fn over_core(&self) -> Box<Mutex<Core>> {
        let mut core = Core::new(Arc::clone(&self.settings));
        core.phase = Phase::Over;
        Box::new(Mutex::new(core))
    }

    /// Whether this process is a copy (`fork`) of the process that the pool lives in. The pool has no driver here.
    pub(super) fn is_elsewhere(&self) -> bool {
        !self.mark.is_here()
    }

    /// Counts calls that have returned values, and calls that have returned or panicked with an error.
    pub(super) fn count_outcomes(&self, completed: u64, failed: u64) {
        // Most replies have values only.
        for (count, to) in [(completed, &self.completed), (failed, &self.failed)] {
            if count > 0 {
                to.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    /// Reads what the pool knows.
    pub(super) fn read<T>(&self, f: impl FnOnce(&Core) -> T) -> T {
        f(&self.lock())
    }

    /// Notes that the current task waits for an outcome, or for the end of the pool.
    #[inline]
    pub(super) fn expect(self: &Arc<Self>) {
        self.background.expect(|| {
            let shared = Arc::downgrade(self);
            move || {
                let shared = shared.upgrade();
                shared.is_some_and(|shared| shared.read(Core::has_work))
            }
        });
    }

    /// Sends the driver an event.
    pub(super) fn tell_driver(&self, event: DriverEvent) {
        if self.is_elsewhere() {
            return;
        }
        // It fails only if the driver was dropped, and with it the pool: what the event holds is dropped as well.
        let _ = self.events.send(event);
    }

    /// The driver is awake, and checks everything before it sleeps.
    pub(super) fn driver_wakes(&self) {
        self.alarm.store(0, Ordering::Relaxed);
    }

    /// The driver sleeps until `alarm`, or until it is woken. Called under the core's lock.
    pub(super) fn driver_sleeps(&self, alarm: Option<Moment>) {
        let bits = alarm.map_or(u64::MAX, Moment::to_bits);
        self.alarm.store(bits, Ordering::Relaxed);
    }

    /// Whether the driver checks everything before it sleeps. Called under the core's lock.
    #[inline]
    pub(super) fn driver_is_awake(&self) -> bool {
        self.alarm.load(Ordering::Relaxed) == 0
    }

    /// Whether the driver sleeps longer than until `at`. Called under the core's lock.
    pub(super) fn driver_sleeps_past(&self, at: Moment) -> bool {
        at.to_bits() < self.alarm.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
impl PoolShared {
    /// How often the core's lock was taken since the last call.
    pub(super) fn take_lock_count(&self) -> usize {
        self.locks.swap(0, Ordering::Relaxed)
    }

    /// Whether the driver sleeps.
    pub(super) fn driver_is_asleep(&self) -> bool {
        !self.driver_is_awake()
    }

    /// Whether the driver sleeps until it is woken.
    pub(super) fn driver_has_no_alarm(&self) -> bool {
        self.alarm.load(Ordering::Relaxed) == u64::MAX
    }
}

impl fmt::Debug for PoolShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolShared").finish_non_exhaustive()
    }
}
