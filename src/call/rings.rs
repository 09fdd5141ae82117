//! The two rings of a child, requests and replies, in one piece of shared memory.
//!
//! The parent creates them and the child maps them. Both sides agree on the layout, which depends on the child's kind.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use super::envelope::{SINGLE_RING_BYTES, WORKER_RING_BYTES};
use crate::ring::Ring;
use crate::sys::memory;
use crate::transfer::lane::Lane;

/// New rings for requests and replies, and their memory.
#[derive(Debug)]
pub(crate) struct RingMemory {
    pub(crate) memory: OwnedFd,
    pub(crate) rings: [Ring; 2],
    /// The rings of the other lanes of a worker.
    pub(crate) others: Vec<[Ring; 2]>,
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
    /// Creates the memory and the rings for requests and replies in it, also those of `others` more lanes.
    pub(crate) fn create(self, others: usize) -> io::Result<RingMemory> {
        static CREATED: AtomicU64 = AtomicU64::new(0);
        let role = match self {
            Self::Worker => "worker",
            Self::Single => "process",
        };
        let (pid, number) = (std::process::id(), CREATED.fetch_add(1, Ordering::Relaxed));
        let name = format!("procession-{role}-{pid}-{number}");
        let memory = memory::memfd(&name, self.len() * (1 + others))?;
        let rings = self.map_in(&memory, Lane::FIRST)?;
        let others = Lane::others(others).map(|lane| self.map_in(&memory, lane));
        Ok(RingMemory {
            rings,
            others: others.collect::<io::Result<_>>()?,
            memory,
            name,
        })
    }

    /// Maps the rings for requests and replies in `memory`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] if the memory is too short or not sealed.
    pub(crate) fn map(self, memory: &OwnedFd) -> io::Result<[Ring; 2]> {
        self.map_lane(memory, Lane::FIRST)
    }

    /// As [`RingLayout::map`], for any lane.
    pub(crate) fn map_lane(self, memory: &OwnedFd, lane: Lane) -> io::Result<[Ring; 2]> {
        if memory::sealed_len(memory)? < self.len() * (lane.index() + 1) {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        self.map_in(memory, lane)
    }

    fn map_in(self, memory: &OwnedFd, lane: Lane) -> io::Result<[Ring; 2]> {
        match self {
            Self::Worker => {
                let first = lane.index() * self.len();
                let second = first + Ring::footprint(WORKER_RING_BYTES);
                let requests = Ring::map(memory, first, WORKER_RING_BYTES)?;
                let replies = Ring::map(memory, second, WORKER_RING_BYTES)?;
                Ok([requests, replies])
            }
            Self::Single => Ring::flat(memory, SINGLE_RING_BYTES),
        }
    }

    /// The bytes of one lane's rings.
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
        let RingMemory { memory, .. } = RingLayout::Single.create(0).unwrap();
        assert!(RingLayout::Single.map(&memory).is_ok());
        let error = RingLayout::Worker.map(&memory).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
