//! What led to an error, in words.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A system call that has failed, a value that is refused, the end of an initializer. `Display` writes one line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Reason(pub(super) String);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.0))
    }
}

impl std::error::Error for Reason {}

pub(super) fn one_line(text: &str) -> String {
    let words: Vec<_> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}
