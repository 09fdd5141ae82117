//! Shared memory: what is written in one process is read in another without a copy, and nothing is left of it.
//!
//! `PROCESSION_MEMORY_ROUNDS` is how often the repeated test maps, sends and unmaps memory (1000 by default).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../deadline/mod.rs"]
mod deadline;
#[path = "../leftovers/mod.rs"]
mod leftovers;
#[path = "../notes/mod.rs"]
mod notes;

mod hostile;
mod lifetime;
mod moved;
mod sealed;
mod shared;
mod shortage;
mod sizes;
mod travel;

use std::sync::LazyLock;

use procession::memory::{SharedBuf, SharedBufMut};

/// After so many bytes the pattern begins again.
const PERIOD: usize = 1 << 16;

/// A buffer whose bytes depend on their place.
pub(crate) fn patterned(len: usize) -> SharedBuf {
    let mut buf = SharedBufMut::zeroed(len).unwrap();
    for part in buf.chunks_mut(PERIOD) {
        part.copy_from_slice(&PATTERN[..part.len()]);
    }
    buf.freeze().unwrap()
}

/// Whether the bytes are those of a [`patterned`] buffer from `start` on.
pub(crate) fn is_patterned(bytes: &[u8], start: usize) -> bool {
    let pattern = &PATTERN[start % PERIOD..][..PERIOD];
    let mut parts = bytes.chunks(PERIOD);
    parts.all(|part| *part == pattern[..part.len()])
}

/// Two periods. It is computed once: a test that checks a thousand buffers would compute it as often.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let one = (0..PERIOD).map(|at| (at ^ (at >> 8)) as u8);
    one.clone().chain(one).collect()
});
