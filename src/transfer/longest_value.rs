//! The longest value that is taken from another process, unless the application says otherwise.
//!
//! Memory that was never written costs its owner nothing, whatever its length, but reading it costs the reader. So a
//! length is not believed beyond this bound.

use std::sync::OnceLock;

/// The bound where there is enough memory, in bytes.
const FOUR_GIB: u64 = 4 << 30;

/// The longest result or message, in bytes: 4 GiB, or half of the machine's memory if that is less.
pub(crate) fn longest_value() -> u64 {
    static LONGEST: OnceLock<u64> = OnceLock::new();
    *LONGEST.get_or_init(|| match crate::sys::memory::machine_bytes() {
        Some(bytes) => FOUR_GIB.min(bytes / 2),
        None => FOUR_GIB,
    })
}

/// The text of the error for a value of `len` bytes where `limit` are taken.
pub(crate) fn too_long(len: u64, limit: u64) -> String {
    format!("it takes {len} bytes, and at most {limit} are taken from another process")
}
