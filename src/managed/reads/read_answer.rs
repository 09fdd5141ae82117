//! What the process of a state tells the home of a read.

use serde::{Deserialize, Serialize};

use crate::call::relayed;
use crate::call::relayed::RelayedOutcome;
use crate::error::SentError;
use crate::sys::clock::Moment;

/// A message to the home.
#[derive(Debug, Serialize, Deserialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "most messages are answers, which a box would allocate for"
)]
pub(in crate::managed) enum ReadMessage {
    /// The next message of this process is the answer of this read. It is long, so that it may not arrive.
    Announce(u64),
    Answer(ReadAnswer),
}

/// What a read came to.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::managed) struct ReadAnswer {
    pub(super) id: u64,
    pub(super) outcome: Result<RelayedOutcome, SentError>,
}

impl ReadAnswer {
    pub(super) fn is_announced(&self) -> bool {
        relayed::is_long(&self.outcome)
    }
}

/// The process in which a state lives, and since when: pids are used again.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Incarnation {
    pub(super) pid: u32,
    /// A [`Moment`].
    since: u64,
}

impl Incarnation {
    /// This process, from now on.
    pub(super) fn here() -> Self {
        Self {
            pid: std::process::id(),
            since: Moment::now().to_bits(),
        }
    }

    pub(super) fn since(self) -> Moment {
        Moment::from_bits(self.since)
    }
}
