//! How long one end checks again before it sleeps, and how long it defers to the holder of a lock.
//!
//! Counts attempts of this process at this end. Looking again is cheaper than sleeping while messages stream; deferring
//! lets the holder of a lock run. Never here: sleeping itself; see `wait`.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::sys::yields::Yields;

/// How often a side checks again, letting others run in between, before it arms the doorbell.
pub(super) const CHECKS_BEFORE_SLEEP: u32 = 100;

/// The same, where both sides share one processor.
const CHECKS_ON_ONE_PROCESSOR: u32 = 2;

/// After so many refusals in a row, the lock's holder is taken to be stopped.
const REFUSALS_BEFORE_PAUSE: u32 = 200;

/// After so many refusals in a row, the lock's holder is taken to wait for a processor.
const REFUSALS_BEFORE_YIELD: u32 = 3;

/// After yields that have taken long, so many waits sleep at once. Then yields are tried again.
const WAITS_WITHOUT_YIELDS: u32 = 64;

/// After this time without a receive, a sender takes the receivers to be idle.
pub(super) const STALL: Duration = Duration::from_millis(1);

/// How long a blocked thread pauses when no doorbell will be rung for it.
pub(super) const THREAD_PAUSE: Duration = Duration::from_micros(50);

/// The pause of a blocked thread that waits for another thread of this process.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_micros(100);

/// Attempts of an end since its last success.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Attempts that found no message, or no room.
    misses: AtomicU32,
    /// Attempts that found a lock held.
    refusals: AtomicU32,
    /// How many waits are left that sleep at once.
    waits_without_yields: AtomicU32,
    stall: Mutex<Stall>,
}

/// Since when nothing was received.
#[derive(Debug, Default)]
struct Stall {
    /// The receivers' position at that time.
    position: u64,
    /// `None` as long as nothing was received at all.
    since: Option<Instant>,
}

impl Patience {
    /// Whether the last attempt found no message, or no room.
    #[inline]
    pub(super) fn has_missed(&self) -> bool {
        self.misses.load(Ordering::Relaxed) > 0
    }

    /// Whether looking again has not helped for so long that the side should sleep.
    pub(super) fn is_exhausted(&self) -> bool {
        let most = match has_one_processor() {
            true => CHECKS_ON_ONE_PROCESSOR,
            false => CHECKS_BEFORE_SLEEP,
        };
        self.misses.load(Ordering::Relaxed) >= most
    }

    /// Notes that looking again has not helped.
    pub(super) fn exhaust(&self) {
        self.misses.store(CHECKS_BEFORE_SLEEP, Ordering::Relaxed);
    }

    /// Whether nothing was received for a while. `position` is the receivers' position.
    pub(super) fn has_stalled(&self, position: u64) -> bool {
        let mut stall = self.stall.lock().unwrap_or_else(PoisonError::into_inner);
        if stall.position != position {
            stall.position = position;
            stall.since = Some(Instant::now());
        }
        stall.since.is_none_or(|since| since.elapsed() >= STALL)
    }

    /// Forgets all failed attempts.
    #[inline]
    pub(super) fn succeeded(&self) {
        self.misses.store(0, Ordering::Relaxed);
        self.refusals.store(0, Ordering::Relaxed);
    }

    /// Counts a miss. True if the side should check again after others have run.
    pub(super) fn looks_again(&self) -> bool {
        let misses = self.misses.fetch_add(1, Ordering::Relaxed);
        if !has_one_processor() {
            return misses < CHECKS_BEFORE_SLEEP;
        }
        // The other side cannot do anything while this side runs, so this side yields.
        let again =
            misses < CHECKS_ON_ONE_PROCESSOR && !self.sleeps_at_once() && self.yields_briefly();
        if !again {
            self.exhaust();
        }
        again
    }

    /// Whether the next wait sleeps at once, because yields have taken long.
    pub(super) fn sleeps_at_once(&self) -> bool {
        let left = self.waits_without_yields.load(Ordering::Relaxed);
        if left > 0 {
            // Two threads may count one wait. The count is only a hint.
            self.waits_without_yields.store(left - 1, Ordering::Relaxed);
        }
        left > 0
    }

    /// Notes that yields have taken long.
    pub(super) fn note_long_yields(&self) {
        self.waits_without_yields
            .store(WAITS_WITHOUT_YIELDS, Ordering::Relaxed);
    }

    /// Lets others run. False if they took the processor for long.
    fn yields_briefly(&self) -> bool {
        let mut yields = Yields::default();
        yields.yield_now();
        let has_taken_long = yields.have_taken_long();
        if has_taken_long {
            self.note_long_yields();
        }
        !has_taken_long
    }

    /// Counts a refusal, and lets the lock's holder run. False if that has not helped for long.
    pub(super) fn defers(&self) -> bool {
        let refusals = self.count_refusal();
        let defers = refusals < REFUSALS_BEFORE_PAUSE;
        if defers && refusals >= REFUSALS_BEFORE_YIELD && !self.yields_briefly() {
            self.refusals
                .store(REFUSALS_BEFORE_PAUSE, Ordering::Relaxed);
            return false;
        }
        defers
    }

    /// Counts a refusal; returns how many there were before it.
    pub(super) fn count_refusal(&self) -> u32 {
        self.refusals.fetch_add(1, Ordering::Relaxed)
    }

    /// Lets the lock's holder run, and pauses this thread if that has not helped for long.
    pub(super) fn defer_blocking(&self) {
        if !self.defers() {
            std::thread::sleep(THREAD_PAUSE);
        }
    }
}

/// Whether affinity or quota leave this process one processor. Asked once: it costs system calls.
fn has_one_processor() -> bool {
    static ONE: LazyLock<bool> = LazyLock::new(|| {
        let processors = std::thread::available_parallelism();
        processors.is_ok_and(|processors| processors.get() == 1)
    });
    *ONE
}
