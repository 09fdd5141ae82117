//! How far a worker's exit function has come, and its arguments as they are sent.
//!
//! Lives in the application.

use crate::call::encoded_items::EncodedItems;
use crate::sys::clock::Moment;
use crate::transfer::blob::PackedBlob;

/// How far the call of the exit function has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum ExitStage {
    /// The worker has not left.
    Unsent,
    /// The worker leaves because it has lost its state, and has not released all requests that were revoked.
    Draining,
    /// The arguments are being encoded.
    Encoding,
    /// It runs, and the worker is killed if it runs longer than until then.
    Runs { until: Moment },
    /// It has an outcome.
    Over,
}

impl ExitStage {
    /// Whether the worker has something to do for the call.
    pub(in crate::pool) fn is_under_way(self) -> bool {
        match self {
            Self::Draining | Self::Encoding | Self::Runs { .. } => true,
            Self::Unsent | Self::Over => false,
        }
    }
}

/// The arguments of an exit function, as they are sent.
#[derive(Debug)]
pub(in crate::pool) enum ExitArguments {
    Items(EncodedItems),
    Blob(PackedBlob),
}
