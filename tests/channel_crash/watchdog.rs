//! Ends a stop that the test does not end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::deadline;

/// Lets the stopped go on if the test itself stands still, so that it fails instead of hanging.
pub(crate) struct Watchdog {
    pub(crate) ticks: Arc<AtomicU64>,
    pub(crate) over: Arc<AtomicBool>,
    pub(crate) thread: std::thread::JoinHandle<bool>,
}

impl Watchdog {
    pub(crate) fn start(pids: Vec<Pid>) -> Self {
        let (ticks, over) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let thread = std::thread::spawn({
            let (ticks, over) = (Arc::clone(&ticks), Arc::clone(&over));
            move || {
                let (mut last, mut since) = (0, Instant::now());
                while !over.load(Ordering::Acquire) {
                    std::thread::sleep(Duration::from_millis(5));
                    let now = ticks.load(Ordering::Acquire);
                    if now != last {
                        (last, since) = (now, Instant::now());
                    } else if since.elapsed() > deadline::LIMIT / 3 {
                        for pid in &pids {
                            let _ = kill_process(*pid, Signal::CONT);
                        }
                        return false;
                    }
                }
                true
            }
        });
        Self {
            ticks,
            over,
            thread,
        }
    }

    pub(crate) fn tick(&self) {
        self.ticks.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn stop(self) {
        self.over.store(true, Ordering::Release);
        assert!(
            self.thread.join().unwrap(),
            "the runtime's thread stood still"
        );
    }
}
