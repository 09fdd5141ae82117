//! What a child wrote and no child of this program writes.
//!
//! Runs in the parent. Every reader of a child's ring or control socket reports such bytes as [`Nonsense`]. The child is
//! killed, its task ends as crashed, and nothing that it writes later is read.

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
}

impl From<Corrupt> for Nonsense {
    fn from(_: Corrupt) -> Self {
        Self("a frame of its reply ring has an impossible length")
    }
}

impl fmt::Display for Nonsense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
