//! The two rings of a child, requests and replies, in one piece of shared memory.
//!
//! The parent creates them and the child maps them. Both sides agree on the layout, which depends on the child's kind.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use super::envelope::{SINGLE_RING_BYTES, WORKER_RING_BYTES};
use crate::ring::Ring;
use crate::sys::memory;

/// New rings for requests and replies, and their memory.
#[derive(Debug)]
pub(crate) struct RingMemory {
    pub(crate) memory: OwnedFd,
    pub(crate) rings: [Ring; 2],
    /// The name of the memory, which no other memory has.
    pub(crate) name: String,
}

/// How the two rings lie in their memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RingLayout {
    /// Frames go round, for as long as the worker lives.
    Worker,
    /// Flat, for the one request of a single-task process: half the mappings, so half the start.
    Single,
}

impl RingLayout {
    /// Creates the memory and the rings for requests and replies in it.
    pub(crate) fn create(self) -> io::Result<RingMemory> {
        static CREATED: AtomicU64 = AtomicU64::new(0);
        let role = match self {
            Self::Worker => "worker",
            Self::Single => "process",
        };
        let (pid, number) = (std::process::id(), CREATED.fetch_add(1, Ordering::Relaxed));
        let name = format!("procession-{role}-{pid}-{number}");
        let memory = memory::memfd(&name, self.len())?;
        let rings = self.map_in(&memory)?;
        Ok(RingMemory {
            memory,
            rings,
            name,
        })
    }

    /// Maps the rings for requests and replies in `memory`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] if the memory is too short or not sealed.
    pub(crate) fn map(self, memory: &OwnedFd) -> io::Result<[Ring; 2]> {
        if memory::sealed_len(memory)? < self.len() {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        self.map_in(memory)
    }

    fn map_in(self, memory: &OwnedFd) -> io::Result<[Ring; 2]> {
        match self {
            Self::Worker => {
                let requests = Ring::map(memory, 0, WORKER_RING_BYTES)?;
                let replies = Ring::map(
                    memory,
                    Ring::footprint(WORKER_RING_BYTES),
                    WORKER_RING_BYTES,
                )?;
                Ok([requests, replies])
            }
            Self::Single => Ring::flat(memory, SINGLE_RING_BYTES),
        }
    }

    /// In bytes.
    fn len(self) -> usize {
        match self {
            Self::Worker => 2 * Ring::footprint(WORKER_RING_BYTES),
            Self::Single => 2 * Ring::flat_footprint(SINGLE_RING_BYTES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_the_other_layout_is_refused_if_it_is_too_short() {
        let RingMemory { memory, .. } = RingLayout::Single.create().unwrap();
        assert!(RingLayout::Single.map(&memory).is_ok());
        let error = RingLayout::Worker.map(&memory).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
