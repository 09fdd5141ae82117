//! Plain data that no process can change.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::{Bound, Deref, RangeBounds};

use bytemuck::Pod;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::buf::SharedBuf;
use super::buf_mut::SharedBufMut;
use crate::codec::error::record_fault;

/// A [`SharedBuf`] of plain data: numbers, or structures of numbers that are [`Pod`].
///
/// A clone or a [`slice`](Self::slice) costs no memory. Sending one costs a descriptor, whatever its length.
///
/// ```
/// use procession::memory::SharedSlice;
///
/// fn norm(vector: SharedSlice<f64>) -> f64 {
///     vector.iter().map(|x| x * x).sum::<f64>().sqrt()
/// }
///
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let vector = SharedSlice::from_slice(&[3.0, 4.0])?;
/// assert_eq!(procession::spawn(norm, vector).await?, 5.0);
/// # Ok(())
/// # }
/// ```
///
/// To fill one in place, cast a [`SharedBufMut`](super::SharedBufMut), whose bytes begin at a page:
///
/// ```
/// use procession::memory::{SharedBufMut, SharedSlice};
///
/// # fn main() -> std::io::Result<()> {
/// let mut buf = SharedBufMut::zeroed(1000 * size_of::<f32>())?;
/// let numbers: &mut [f32] = bytemuck::cast_slice_mut(&mut buf);
/// numbers[999] = 0.5;
/// let numbers = SharedSlice::<f32>::try_from(buf.freeze()?)?;
/// assert_eq!(numbers[999], 0.5);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "Array")]
#[doc(alias = "RawArray")]
pub struct SharedSlice<T> {
    buf: SharedBuf,
    item: PhantomData<fn() -> T>,
}

impl<T: Pod> SharedSlice<T> {
    /// Copies `items` into shared memory and seals it.
    ///
    /// # Errors
    ///
    /// There are no items, or there is no memory or descriptor left for them.
    pub fn from_slice(items: &[T]) -> io::Result<Self> {
        let bytes = bytemuck::cast_slice(items);
        let mut buf = SharedBufMut::zeroed(bytes.len())?;
        buf.copy_from_slice(bytes);
        buf.freeze()?.try_into()
    }

    /// A part of the slice, which shares its memory and keeps it.
    ///
    /// # Panics
    ///
    /// The range is not inside the slice.
    #[must_use = "the slice itself stays as it is"]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        let bytes = |items: usize| items.saturating_mul(size_of::<T>());
        let start = match range.start_bound() {
            Bound::Included(at) => bytes(*at),
            Bound::Excluded(at) => bytes(at.saturating_add(1)),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(at) => bytes(at.saturating_add(1)),
            Bound::Excluded(at) => bytes(*at),
            Bound::Unbounded => self.buf.len(),
        };
        Self::of(self.buf.slice(start..end))
    }

    fn of(buf: SharedBuf) -> Self {
        Self {
            buf,
            item: PhantomData,
        }
    }

    /// Checks that the bytes are items.
    fn check(buf: SharedBuf) -> Result<Self, String> {
        match bytemuck::try_cast_slice::<u8, T>(&buf) {
            Ok(_) => Ok(Self::of(buf)),
            Err(why) => Err(format!(
                "{} bytes of shared memory are no slice of {}: {why}",
                buf.len(),
                std::any::type_name::<T>()
            )),
        }
    }
}

impl<T> SharedSlice<T> {
    /// The bytes of the items.
    pub fn as_buf(&self) -> &SharedBuf {
        &self.buf
    }

    /// The bytes of the items.
    pub fn into_buf(self) -> SharedBuf {
        self.buf
    }
}

impl<T: Pod> TryFrom<SharedBuf> for SharedSlice<T> {
    type Error = io::Error;

    /// The same memory as items. `InvalidInput` if the bytes are not aligned for them, or are no whole number of them.
    fn try_from(buf: SharedBuf) -> io::Result<Self> {
        Self::check(buf).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))
    }
}

impl<T> Clone for SharedSlice<T> {
    fn clone(&self) -> Self {
        Self {
            buf: self.buf.clone(),
            item: PhantomData,
        }
    }
}

impl<T: Pod> Deref for SharedSlice<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // Never fails: it was checked where the value was made.
        bytemuck::cast_slice(&self.buf)
    }
}

impl<T: Pod> AsRef<[T]> for SharedSlice<T> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<T: Pod + PartialEq> PartialEq for SharedSlice<T> {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl<T> fmt::Debug for SharedSlice<T> {
    /// Tells the place and the length in bytes, not the items: there may be gigabytes of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedSlice").field(&self.buf).finish()
    }
}

impl<T> Serialize for SharedSlice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.buf.serialize(serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for SharedSlice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let buf = SharedBuf::deserialize(deserializer)?;
        record_fault(Self::check(buf)).map_err(de::Error::custom)
    }
}
