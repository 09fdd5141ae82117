//! What a handle in another process and the home of the state tell each other.

use serde::{Deserialize, Serialize};

use crate::call::relayed::RelayedOutcome;
use crate::error::SentError;
use crate::pipe::Pipe;
use crate::transfer::encoded_value::EncodedValue;

/// How many calls of one process the home takes at a time. More wait, so that a process cannot fill the home's memory.
pub(super) const MOST_CALLS: usize = 1024;

/// How many connections may wait to be accepted.
pub(super) const MOST_HELLOS: usize = 64;

/// The home's end of a new connection.
pub(super) type Hello = Pipe<FromHome, ToHome>;

/// From a handle to the home.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToHome {
    /// The next message is this call. It is long, so that it may not arrive.
    Announce { id: u64 },
    /// Call the function with this token.
    Call {
        id: u64,
        kind: CallKind,
        token: u64,
        arguments: EncodedValue,
    },
    /// Do not begin the call, if it was not begun.
    Withdraw { id: u64 },
}

/// How a function borrows the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum CallKind {
    /// Alone, to change it.
    Call,
    /// Beside others, to look at it.
    Read,
}

/// From the home to a handle.
#[derive(Debug, Serialize, Deserialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "most messages are answers, which a box would allocate for"
)]
pub(super) enum FromHome {
    /// The next message is the answer of this call. It is long, so that it may not arrive.
    Announce {
        id: u64,
    },
    Answer(HomeAnswer),
}

/// What a call came to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HomeAnswer {
    pub(super) id: u64,
    pub(super) generation: u64,
    pub(super) outcome: Result<RelayedOutcome, SentError>,
}

impl ToHome {
    /// The call in it, if the message may not arrive.
    pub(super) fn to_announce(&self) -> Option<u64> {
        match self {
            Self::Call { id, arguments, .. } if arguments.is_long() => Some(*id),
            _ => None,
        }
    }
}
