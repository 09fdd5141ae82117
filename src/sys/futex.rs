//! Sleeping on a word of shared memory (`futex(2)`).
//!
//! The words lie in memory shared between processes, so the calls are not `FUTEX_PRIVATE`. A word has no owner: a
//! killed sleeper leaves nothing behind.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::thread::futex::{self, Flags, Timespec};

/// Sleeps while `word` holds `value`, for at most `limit`. May return early for no reason.
pub(crate) fn wait(word: &AtomicU32, value: u32, limit: Option<Duration>) {
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    // Woken, changed meanwhile, interrupted, timed out: the caller looks again in every case.
    let _ = futex::wait(word, Flags::empty(), value, limit.as_ref());
}

/// Wakes one sleeper on `word`.
pub(crate) fn wake(word: &AtomicU32) {
    // Fails only for an address outside the mapping, and `word` is a reference.
    let _ = futex::wake(word, Flags::empty(), 1);
}
