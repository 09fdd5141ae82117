//! A thread that continues stopped processes if the test blocks, so that the test fails instead of hanging.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::deadline;

/// Runs until [`Watchdog::stop`] or for too long without a tick.
pub(crate) struct Watchdog {
    shared: Arc<Shared>,
    thread: JoinHandle<bool>,
}

#[derive(Default)]
struct Shared {
    ticks: AtomicU64,
    stops: AtomicBool,
}

impl Watchdog {
    pub(crate) fn start(pids: Vec<Pid>) -> Self {
        let shared = Arc::<Shared>::default();
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.watch(&pids)
        });
        Self { shared, thread }
    }

    /// Says that the test has not blocked.
    pub(crate) fn tick(&self) {
        self.shared.ticks.fetch_add(1, Ordering::AcqRel);
    }

    /// Fails if the test had blocked.
    pub(crate) fn stop(self) {
        self.shared.stops.store(true, Ordering::Release);
        let in_time = self.thread.join().unwrap();
        assert!(in_time, "a call blocked the thread of the runtime");
    }
}

impl Shared {
    /// Returns false after it had to continue the processes.
    fn watch(&self, pids: &[Pid]) -> bool {
        let (mut last, mut since) = (0, Instant::now());
        while !self.stops.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(5));
            let now = self.ticks.load(Ordering::Acquire);
            if now != last {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() > deadline::LIMIT / 3 {
                for pid in pids {
                    let _ = kill_process(*pid, Signal::CONT);
                }
                return false;
            }
        }
        true
    }
}
