//! What a function unwinds with when a value that it gives cannot be encoded.
//!
//! Made in the worker. The executor makes it an outcome of its own instead of a panic.

/// Why the value cannot be encoded.
#[derive(Debug)]
pub(crate) struct Unsendable(pub(crate) String);
