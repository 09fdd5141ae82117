//! How long the sender of a long message waits for memory that was used before.
//!
//! Memory that was used before is filled several times as fast as new memory, so a sender waits for it while messages
//! are received. What must stay true: where nothing is received, a sender waits once at most, because the channel takes
//! as many messages as its capacity. Runs in the sending process.

use std::time::{Duration, Instant};

use super::flavor::Flavor;
use super::patience::RETRY_INTERVAL;

/// How long a sender waits for memory that it used before. Then it asks the kernel for more, because the receiver that
/// has the memory may have died.
const LONGEST_MEMORY_WAIT: Duration = Duration::from_millis(250);

/// The wait of one sender.
#[derive(Debug, Clone, Copy)]
pub(super) struct MemoryWait {
    until: Instant,
}

impl MemoryWait {
    pub(super) fn begin() -> Self {
        Self {
            until: Instant::now() + LONGEST_MEMORY_WAIT,
        }
    }

    /// Whether the sender has to wait on.
    pub(super) fn goes_on<F: Flavor>(self, flavor: &F) -> bool {
        let end = flavor.end();
        if end.has_memory() || flavor.is_closed() || end.has_received_nothing() {
            return false;
        }
        let goes_on = Instant::now() < self.until;
        if !goes_on {
            end.note_received();
        }
        goes_on
    }

    /// Blocks until there is memory, or waiting for it has taken too long.
    pub(super) fn block<F: Flavor>(self, flavor: &F) {
        while self.goes_on(flavor) {
            std::thread::sleep(RETRY_INTERVAL);
        }
    }
}
