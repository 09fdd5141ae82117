//! Values that all processes change.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::codec::attachments;
use crate::codec::error::record_fault;
use crate::sys::atomics::{AtomicLayout, AtomicMemory, Atomics};

/// An atomic, or an array of atomics, that all processes which have it read and write.
///
/// `T` is an atomic of the standard library, an array of them, a slice of them whose length is chosen as the program
/// runs, or a structure of your own (see [`Atomics`]). Sending one, or cloning it, shares the same memory. An operation
/// on it costs what it costs between threads. Dropping the last one in the last process frees the memory.
///
/// ```
/// use procession::memory::Shared;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// fn count(hits: Shared<AtomicU64>, grid: Shared<[AtomicU64]>, n: usize) {
///     hits.fetch_add(1, Ordering::Relaxed);
///     grid[n].store(7, Ordering::Relaxed);
/// }
///
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hits = Shared::new(AtomicU64::new(0))?;
/// let grid = Shared::<[AtomicU64]>::zeroed(100)?;
/// let calls = (0..100).map(|n| (hits.clone(), grid.clone(), n));
/// procession::Pool::with_workers(2)?.map(count, calls).await?;
/// assert_eq!(hits.load(Ordering::Relaxed), 100);
/// assert!(grid.iter().all(|it| it.load(Ordering::Relaxed) == 7));
/// # Ok(())
/// # }
/// ```
///
/// A process that is killed leaves the value as its last operation has left it.
#[doc(alias = "Value")]
#[doc(alias = "RawValue")]
pub struct Shared<T: ?Sized>(Arc<AtomicMemory<T>>);

impl<T: Atomics> Shared<T> {
    /// Moves `value` into shared memory.
    ///
    /// # Errors
    ///
    /// The value has no bytes, or there is no memory or descriptor left.
    pub fn new(value: T) -> io::Result<Self> {
        AtomicMemory::new(value).map(Self::of)
    }
}

impl<T: Atomics> Shared<[T]> {
    /// Makes `len` values, all zero, in shared memory.
    ///
    /// # Errors
    ///
    /// As [`SharedBufMut::zeroed`](super::SharedBufMut::zeroed), for the bytes that the values take.
    pub fn zeroed(len: usize) -> io::Result<Self> {
        AtomicMemory::zeroed(len).map(Self::of)
    }
}

impl<T: ?Sized> Shared<T> {
    fn of(memory: AtomicMemory<T>) -> Self {
        Self(Arc::new(memory))
    }

    /// Whether both are the same value of this process. The same memory, received twice, is mapped twice.
    ///
    /// This is not a method, because the value may have methods of this name: call `Shared::ptr_eq(&a, &b)`.
    pub fn ptr_eq(this: &Self, other: &Self) -> bool {
        Arc::ptr_eq(&this.0, &other.0)
    }
}

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: AtomicLayout + ?Sized> Deref for Shared<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: AtomicLayout + ?Sized> AsRef<T> for Shared<T> {
    fn as_ref(&self) -> &T {
        self
    }
}

impl<T: ?Sized> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl<T: AtomicLayout + ?Sized> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let place = attachments::attach_memory(self.0.as_fd(), self.0.identity());
        let place = place.map_err(ser::Error::custom)?;
        (place, self.0.count() as u64).serialize(serializer)
    }
}

impl<'de, T: AtomicLayout + ?Sized> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (place, count) = <(u32, u64)>::deserialize(deserializer)?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let open = |fd| match AtomicMemory::open(fd, count) {
            Ok(memory) => Ok(Arc::new(memory)),
            Err(error) => Err(error.to_string()),
        };
        let memory: Result<Arc<AtomicMemory<T>>, _> = attachments::take_memory(place, open);
        let arrived = memory.and_then(|memory| match memory.count() == count {
            true => Ok(Self(memory)),
            false => Err("a Shared value came with two lengths".to_owned()),
        });
        record_fault(arrived).map_err(de::Error::custom)
    }
}
