//! A child that nobody will ever know more of.

use std::fmt;

/// A process was forked and has begun, and its server ended before anything was known of it. It is killed as soon as
/// something is.
#[derive(Debug)]
pub(crate) struct Lost;

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its process had begun, and was lost with the fork server that made it")
    }
}

impl std::error::Error for Lost {}
