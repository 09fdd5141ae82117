//! What another process wrote and no process of this program writes.
//!
//! Runs in the parent, and in every process that has an end of a queue or pipe. Every reader of memory or of a socket
//! that another process can write reports such bytes as [`Nonsense`]. What follows is the same everywhere: nothing that
//! is written there later is read, the users are told by an error that begins as [`Nonsense::explain`] or
//! [`Nonsense::explain_channel`] says, and with the feature `tracing` by a warning.
//!
//! - A child's ring or control socket (`call`, `pool`, `process`): the child is killed, and its task ends as crashed.
//! - The memory or the socket of a queue or pipe (`channel`): it ends for all processes.
//!
//! Never here: what concerns one value alone, and leaves the rest believable: a value that does not decode, or a value
//! that is longer than its memory. That is an error of that value.

use std::fmt;

use crate::ring::Corrupt;

/// What cannot be, as the end of the sentence in [`Nonsense::explain`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nonsense(pub(crate) &'static str);

impl Nonsense {
    /// The error's text for the task that the child ran.
    pub(crate) fn explain(self) -> String {
        format!(
            "its process wrote what cannot be into the memory or the socket that it shares with the application, and was \
             killed: {self}"
        )
    }

    /// The error's text for the users of a queue or pipe.
    pub(crate) fn explain_channel(self) -> String {
        format!(
            "a process wrote what cannot be into the memory or the socket of the queue or pipe, which was overwritten and \
             has ended, so that messages are lost: {self}"
        )
    }
}

impl From<Corrupt> for Nonsense {
    fn from(_: Corrupt) -> Self {
        Self("a frame of its ring has an impossible length")
    }
}

impl fmt::Display for Nonsense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
