//! The memory or function that an encoder writes to.

use crate::sys::buffer::{LONGEST_VARINT, WriteCursor};

/// Where an encoder writes. The default is an output that is in use elsewhere, or has failed.
pub(super) trait ByteOutput: Default {
    /// Writes `bytes`. False if there is no space for them.
    fn put(&mut self, bytes: &[u8]) -> bool;

    /// Writes `number` as LEB128. False if there is no space for it.
    fn put_varint(&mut self, number: u64) -> bool;

    /// Whether this is the default.
    fn is_default(&self) -> bool;
}

impl ByteOutput for WriteCursor<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> bool {
        self.put(bytes)
    }

    #[inline]
    fn put_varint(&mut self, number: u64) -> bool {
        self.put_varint(number)
    }

    #[inline]
    fn is_default(&self) -> bool {
        self.has_no_memory()
    }
}

/// Gives the bytes, piece by piece, to a function that says whether it had space for them.
pub(super) struct Pieces<P>(Option<P>);

impl<P: FnMut(&[u8]) -> bool> Pieces<P> {
    pub(super) fn new(put: P) -> Self {
        Self(Some(put))
    }
}

impl<P> Default for Pieces<P> {
    fn default() -> Self {
        Self(None)
    }
}

impl<P: FnMut(&[u8]) -> bool> ByteOutput for Pieces<P> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> bool {
        self.0.as_mut().is_some_and(|put| put(bytes))
    }

    #[inline]
    fn put_varint(&mut self, number: u64) -> bool {
        let mut bytes = [0; LONGEST_VARINT];
        let mut cursor = WriteCursor::of(&mut bytes);
        cursor.put_varint(number);
        let len = LONGEST_VARINT - cursor.room();
        self.put(&bytes[..len])
    }

    #[inline]
    fn is_default(&self) -> bool {
        self.0.is_none()
    }
}
