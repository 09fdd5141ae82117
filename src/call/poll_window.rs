//! How long an idle worker polls before it sleeps.
//!
//! Runs in the worker, on a thread that runs tasks. Waking a thread of a processor that sleeps takes both sides tens of
//! microseconds, where a virtual machine has to wake the processor. So a worker that sleeps between two calls of a
//! caller that awaits each makes the call several times as slow. Polling longer helps where the next request comes
//! soon, and is a waste elsewhere: so the worker learns from its waits (the kernel does so for idle virtual processors,
//! `Documentation/virt/kvm/halt-polling.rst`).

use std::time::Duration;

/// The time for which a worker polls at least: longer than the parent takes to send the next request of a stream, and
/// too short to be noticed as a busy loop.
const SHORTEST_POLLING: Duration = Duration::from_micros(20);

/// The time for which a worker polls at most.
const LONGEST_POLLING: Duration = Duration::from_micros(80);

/// A wait of this length has the time in it that waking takes, and would have ended in a longer window.
const NEAR_WAIT: Duration = Duration::from_micros(150);

/// See the module.
#[derive(Debug)]
pub(super) struct PollWindow(Duration);

impl PollWindow {
    pub(super) fn new() -> Self {
        Self(SHORTEST_POLLING)
    }

    /// How long to poll.
    pub(super) fn get(&self) -> Duration {
        self.0
    }

    /// A worker that has polled in vain and then slept has waited for so long.
    pub(super) fn on_sleep(&mut self, waited: Duration) {
        self.0 = match waited <= NEAR_WAIT && self.0 < LONGEST_POLLING {
            true => (self.0 * 2).min(LONGEST_POLLING),
            // Also where the longest window was not long enough, although the request came soon after it.
            false => SHORTEST_POLLING,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_grows_while_requests_come_soon() {
        let mut window = PollWindow::new();
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(window.get());
            window.on_sleep(NEAR_WAIT);
        }
        assert_eq!(
            seen,
            [
                SHORTEST_POLLING,
                SHORTEST_POLLING * 2,
                LONGEST_POLLING,
                SHORTEST_POLLING
            ]
        );
    }

    #[test]
    fn window_is_short_after_a_long_wait() {
        let mut window = PollWindow::new();
        window.on_sleep(NEAR_WAIT);
        window.on_sleep(NEAR_WAIT + Duration::from_nanos(1));
        assert_eq!(window.get(), SHORTEST_POLLING);
    }
}
