//! What a child wrote and no child of this program writes.
//!
//! Runs in the parent. Every reader of a child's ring or control socket reports such bytes as [`Nonsense`]. The child is
//! killed, its task ends as crashed, and nothing that it writes later is read.

use std::fmt;

use crate::ring::Corrupt;

/// What cannot be, as the end of the sentence "the memory shared with the process was overwritten: …".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nonsense(pub(crate) &'static str);

impl Nonsense {
    /// The error's text for the task that the child ran.
    pub(crate) fn explain(self) -> String {
        format!("the process wrote what cannot be, and was not trusted any more: {self}")
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
