//! Where the decoder reads: bytes at hand, and where more come from.
//!
//! A frame was copied whole before it is decoded. A long value comes in shared memory, which is copied piece by piece
//! ([`SharedInput`]).

use postcard::Error as Cause;

use super::error::{Error, Result};
use super::shared_input::SharedInput;
use super::varint;

/// The most bytes of a number: 128 bits, seven a byte.
const LONGEST_NUMBER: usize = 19;

/// The error of a value for which there is no memory. Postcard has no such error, and gives this one in no other case.
pub(super) const NO_MEMORY: Error = Error(Cause::CollectStrError);

/// The bytes that were not read yet.
#[derive(Clone, Copy)]
pub(super) struct Input<'de> {
    bytes: &'de [u8],
    /// Where more bytes come from.
    more: Option<&'de SharedInput<'de>>,
}

impl<'de> Input<'de> {
    #[inline]
    pub(super) fn of(bytes: &'de [u8]) -> Self {
        Self { bytes, more: None }
    }

    /// Memory that another process may still write.
    pub(super) fn shared(input: &'de SharedInput<'de>) -> Self {
        Self {
            bytes: &[],
            more: Some(input),
        }
    }

    /// How many bytes were not read.
    #[inline]
    pub(super) fn left(&self) -> usize {
        self.bytes.len() + self.more.map_or(0, SharedInput::remaining)
    }

    /// All bytes that were not read, if all of them are at hand.
    #[inline]
    pub(super) fn whole(&self) -> Option<&'de [u8]> {
        match self.more {
            None => Some(self.bytes),
            Some(_) => None,
        }
    }

    /// The input with at least `wanted` bytes at hand, or all that are left. By value, so that the position can stay in
    /// registers.
    #[inline]
    fn with_more(self, wanted: usize) -> Result<Self> {
        match self.more {
            None => Err(Error(Cause::DeserializeUnexpectedEnd)),
            Some(input) => self.refilled(input, wanted),
        }
    }

    #[cold]
    #[inline(never)]
    fn refilled(self, input: &'de SharedInput<'de>, wanted: usize) -> Result<Self> {
        if input.remaining() == 0 {
            return Ok(self);
        }
        let wanted = wanted.min(self.left());
        let bytes = input.refill(self.bytes, wanted).ok_or(NO_MEMORY)?;
        Ok(Self { bytes, ..self })
    }

    /// The next `len` bytes as a buffer of its own, if they are not at hand.
    #[inline]
    pub(super) fn take_buffer(&mut self, len: usize) -> Result<Option<Vec<u8>>> {
        match self.bytes.len() < len {
            true => self.take_long_buffer(len).map(Some),
            false => Ok(None),
        }
    }

    #[cold]
    fn take_long_buffer(&mut self, len: usize) -> Result<Vec<u8>> {
        let input = self.more.filter(|_| len <= self.left());
        let input = input.ok_or(Error(Cause::DeserializeUnexpectedEnd))?;
        let buffer = input.take_buffer(self.bytes, len - self.bytes.len());
        self.bytes = &[];
        buffer.ok_or(NO_MEMORY)
    }

    #[inline]
    pub(super) fn take_byte(&mut self) -> Result<u8> {
        if self.bytes.is_empty() {
            *self = self.with_more(1)?;
        }
        let (byte, rest) = self
            .bytes
            .split_first()
            .ok_or(Error(Cause::DeserializeUnexpectedEnd))?;
        self.bytes = rest;
        Ok(*byte)
    }

    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Result<&'de [u8]> {
        if self.bytes.len() < len {
            *self = self.with_more(len)?;
        }
        let taken = self.bytes.split_at_checked(len);
        let (taken, rest) = taken.ok_or(Error(Cause::DeserializeUnexpectedEnd))?;
        self.bytes = rest;
        Ok(taken)
    }

    #[inline]
    pub(super) fn take_array<const N: usize>(&mut self) -> Result<[u8; N]> {
        if self.bytes.len() < N {
            *self = self.with_more(N)?;
        }
        let taken = self.bytes.split_first_chunk();
        let (taken, rest) = taken.ok_or(Error(Cause::DeserializeUnexpectedEnd))?;
        self.bytes = rest;
        Ok(*taken)
    }

    /// A number of at most `bits` bits.
    #[inline]
    pub(super) fn take_number(&mut self, bits: u32) -> Result<u64> {
        match varint::take(&mut self.bytes, bits) {
            Err(Error(Cause::DeserializeUnexpectedEnd)) => {
                *self = self.with_more(LONGEST_NUMBER)?;
                varint::take(&mut self.bytes, bits)
            }
            taken => taken,
        }
    }

    #[inline]
    pub(super) fn take_long_number(&mut self) -> Result<u128> {
        if self.more.is_some() && self.bytes.len() < LONGEST_NUMBER {
            *self = self.with_more(LONGEST_NUMBER)?;
        }
        varint::take_long(&mut self.bytes)
    }

    #[inline]
    pub(super) fn take_len(&mut self) -> Result<usize> {
        self.take_number(usize::BITS).map(|len| len as usize)
    }

    #[inline]
    pub(super) fn take_bytes(&mut self) -> Result<&'de [u8]> {
        let len = self.take_len()?;
        self.take(len)
    }

    #[inline]
    pub(super) fn take_text(&mut self, len: usize) -> Result<&'de str> {
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map_err(|_| Error(Cause::DeserializeBadUtf8))
    }

    #[inline]
    pub(super) fn take_char(&mut self) -> Result<char> {
        let text = match self.take_len()? {
            len @ 0..=4 => std::str::from_utf8(self.take(len)?),
            _ => return Err(Error(Cause::DeserializeBadChar)),
        };
        // Postcard ignores further characters, which no encoder writes.
        let first = text.ok().and_then(|text| text.chars().next());
        first.ok_or(Error(Cause::DeserializeBadChar))
    }

    #[inline]
    pub(super) fn take_bool(&mut self, otherwise: Error) -> Result<bool> {
        match self.take_byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(otherwise),
        }
    }
}
