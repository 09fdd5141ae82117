//! Bytes that no process can change.

use std::fmt;
use std::io;
use std::ops::{Bound, Deref, RangeBounds};
use std::os::fd::AsFd as _;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::known::KnownMemory;
use crate::codec::attachments;
use crate::codec::error::record_fault;
use crate::sys::sealed_memory::SealedMemory;
use crate::sys::writable_memory::WritableMemory;

/// Bytes in shared memory that no process can write any more.
///
/// The kernel seals the memory: no process, not even a corrupted one, can write it, truncate it, or map it for writing.
/// So a `&[u8]` of it is sound in every process that has it. A clone or a [`slice`](Self::slice) costs no memory.
/// Sending one costs a descriptor, whatever its length. Dropping the last one in the last process frees the memory.
///
/// It is made by [`SharedBufMut::freeze`](super::SharedBufMut::freeze) or by [`copy_from`](Self::copy_from).
///
/// Libraries that hold bytes by an owner take it without a copy:
///
/// ```
/// use bytes::Bytes;
/// use procession::memory::SharedBuf;
///
/// # fn main() -> std::io::Result<()> {
/// let buf = SharedBuf::copy_from(b"from a worker")?;
/// let bytes = Bytes::from_owner(buf);
/// assert_eq!(bytes.slice(7..), "worker");
/// # Ok(())
/// # }
/// ```
///
/// So `arrow_buffer::Buffer::from(bytes)` is an Arrow buffer over the shared memory, and
/// `ndarray::ArrayView2::from_shape((rows, columns), &slice[..])` a view of a [`SharedSlice`](super::SharedSlice).
///
/// # Errors
///
/// Serialising it is an error unless it is being sent as an argument, a result or a message, or if this process may not
/// have so many descriptors open. Deserialising it is an error if what arrived is not sealed memory.
#[derive(Clone)]
#[doc(alias = "SharedMemory")]
#[doc(alias = "shared_memory")]
pub struct SharedBuf {
    memory: Arc<KnownMemory>,
    start: usize,
    len: usize,
}

impl SharedBuf {
    /// Seals `memory`.
    pub(super) fn seal(memory: WritableMemory) -> io::Result<Self> {
        let len = memory.len();
        let sealed = SealedMemory::seal(memory)?;
        Ok(Self {
            memory: KnownMemory::add(sealed),
            start: 0,
            len,
        })
    }

    /// Copies `bytes` into shared memory and seals it.
    ///
    /// # Errors
    ///
    /// There are no bytes, or there is no memory or descriptor left for them.
    pub fn copy_from(bytes: &[u8]) -> io::Result<Self> {
        let mut memory = WritableMemory::zeroed(bytes.len())?;
        memory.bytes_mut().copy_from_slice(bytes);
        Self::seal(memory)
    }

    /// A part of the buffer, which shares its memory and keeps it.
    ///
    /// Sending a slice sends the descriptor of the whole memory: a receiver could map all of it.
    ///
    /// # Panics
    ///
    /// The range is not inside the buffer.
    #[must_use = "the buffer itself stays as it is"]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        let start = match range.start_bound() {
            Bound::Included(at) => *at,
            Bound::Excluded(at) => at.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(at) => at.saturating_add(1),
            Bound::Excluded(at) => *at,
            Bound::Unbounded => self.len,
        };
        assert!(
            start <= end && end <= self.len,
            "the range {start}..{end} is not inside a buffer of {} bytes",
            self.len
        );
        Self {
            memory: Arc::clone(&self.memory),
            start: self.start + start,
            len: end - start,
        }
    }

    /// Whether both have the same memory, in whole or in part.
    pub fn shares_memory_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.memory, &other.memory)
    }

    fn arrived(memory: Arc<KnownMemory>, start: u64, len: u64) -> Result<Self, String> {
        let size = memory.sealed().bytes().len();
        let part = usize::try_from(start).ok().zip(usize::try_from(len).ok());
        match part {
            Some((start, len)) if start <= size && len <= size - start => {
                Ok(Self { memory, start, len })
            }
            _ => {
                Err("a part of shared memory is outside of the memory that came with it".to_owned())
            }
        }
    }
}

impl Deref for SharedBuf {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.memory.sealed().bytes()[self.start..][..self.len]
    }
}

impl AsRef<[u8]> for SharedBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for SharedBuf {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl Eq for SharedBuf {}

impl fmt::Debug for SharedBuf {
    /// Tells the place and the length, not the bytes: there may be gigabytes of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBuf")
            .field("start", &self.start)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl Serialize for SharedBuf {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sealed = self.memory.sealed();
        let place = attachments::attach_memory(sealed.as_fd(), sealed.identity());
        let place = place.map_err(ser::Error::custom)?;
        (place, self.start as u64, self.len as u64).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedBuf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (place, start, len) = <(u32, u64, u64)>::deserialize(deserializer)?;
        let open = |fd| KnownMemory::open(fd).map_err(|error| error.to_string());
        let memory = attachments::take_memory(place, open).map_err(de::Error::custom)?;
        let arrived = record_fault(Self::arrived(memory, start, len));
        arrived.map_err(de::Error::custom)
    }
}
