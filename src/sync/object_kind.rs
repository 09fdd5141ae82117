//! Which kind of object lies in a memory.

/// The kinds of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ObjectKind {
    Mutex,
    RwLock,
    Semaphore,
    Event,
    Condvar,
    Barrier,
    Once,
}

impl ObjectKind {
    /// The number of the kind in the memory.
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Mutex => 1,
            Self::RwLock => 2,
            Self::Semaphore => 3,
            Self::Event => 4,
            Self::Condvar => 5,
            Self::Barrier => 6,
            Self::Once => 7,
        }
    }

    /// Whether requests are granted by serving alone, so that a request is served as soon as it is made.
    pub(super) fn is_served_at_once(self) -> bool {
        match self {
            Self::Mutex | Self::Event | Self::Condvar => false,
            Self::RwLock | Self::Semaphore | Self::Barrier | Self::Once => true,
        }
    }

    /// Whether decisions are made under the serving lock alone. The notifier of a condition variable reads the table
    /// without it, so that the table must never be seen without its end.
    pub(super) fn is_read_under_lock(self) -> bool {
        !matches!(self, Self::Condvar)
    }
}
