//! The lanes of a worker. A lane is a pair of rings and a thread of the worker, and runs one task at a time.
//!
//! Most workers have one lane. The lanes of a worker share its control socket: so what they name by ids must differ.
//!
//! Must stay true: two lanes of a worker have no id in common, of blobs, attachments and replies.

/// The most lanes of a worker. Each has four mappings of memory at the most and a thread, in the worker.
pub(crate) const MOST_LANES: usize = 1024;

/// The bits of an id below the number of its lane. A lane that uses a million ids a second has enough for 8 years.
const NUMBER_SHIFT: u32 = 48;

/// The number of a lane in its worker, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Lane(usize);

impl Lane {
    /// The lane that each worker has. Initializers run on its thread.
    pub(crate) const FIRST: Self = Self(0);

    /// The lanes beside the first, of which there are so many.
    pub(crate) fn others(count: usize) -> impl Iterator<Item = Self> {
        (1..=count).map(Self)
    }

    /// Its place among the lanes of its worker.
    pub(crate) fn index(self) -> usize {
        self.0
    }

    /// The id before the first id of this lane.
    pub(crate) fn id_base(self) -> u64 {
        (self.0 as u64) << NUMBER_SHIFT
    }

    /// The index of the lane with this id.
    pub(crate) fn index_of(id: u64) -> usize {
        (id >> NUMBER_SHIFT) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_say_their_lane() {
        for lane in std::iter::once(Lane::FIRST).chain(Lane::others(MOST_LANES - 1)) {
            assert_eq!(Lane::index_of(lane.id_base()), lane.index());
            assert_eq!(Lane::index_of(lane.id_base() + 1_000_000), lane.index());
        }
    }
}
