//! Decoding postcard's format, faster than postcard does.
//!
//! As in [`encoder`](super::encoder), the read position is carried along as a value; here only while a sequence of
//! bytes is read.
//!
//! A long value comes in shared memory, which is copied piece by piece ([`SharedInput`]). A type that asks serde for a
//! buffer of its own gets the copy, made at once. Most of the cost of a long copy is that the kernel provides fresh
//! memory page by page, so it is asked for in huge pages.

use std::borrow::BorrowMut;

use postcard::{Error, Result};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer as _, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::encoder::TOO_DEEP;
use super::shared_input::SharedInput;
use super::varint;
use crate::sys::stack;

/// Reads values from bytes.
pub(super) struct Decoder<'de> {
    bytes: &'de [u8],
    /// Where more bytes come from.
    more: Option<&'de SharedInput<'de>>,
    /// The lowest address that the recursion may reach.
    stack_limit: usize,
}

/// A sequence may have this many parts more than bytes are left: parts that take no bytes, which are rarely many. A
/// corrupt length must not make a loop of years.
const MOST_EMPTY_PARTS: usize = 1 << 20;

/// The most bytes of a number: 128 bits, seven a byte.
const LONGEST_NUMBER: usize = 19;

/// The error of a value for which there is no memory. Postcard has no such error, and gives this one in no other case.
pub(super) const NO_MEMORY: Error = Error::CollectStrError;

impl<'de> Decoder<'de> {
    pub(super) fn new(bytes: &'de [u8]) -> Self {
        Self {
            bytes,
            more: None,
            stack_limit: stack::limit(),
        }
    }

    /// Reads from memory that another process may still write.
    pub(super) fn shared(input: &'de SharedInput<'de>) -> Self {
        Self {
            more: Some(input),
            ..Self::new(&[])
        }
    }

    /// How many bytes were not read.
    #[inline]
    pub(super) fn left(&self) -> usize {
        self.bytes.len() + self.more.map_or(0, SharedInput::remaining)
    }

    /// Has at least `wanted` bytes at hand, or all that are left.
    #[inline]
    fn have(&mut self, wanted: usize) -> Result<()> {
        match self.bytes.len() < wanted {
            true => self.refill(wanted),
            false => Ok(()),
        }
    }

    #[cold]
    fn refill(&mut self, wanted: usize) -> Result<()> {
        let input = self.more.ok_or(Error::DeserializeUnexpectedEnd)?;
        if input.remaining() == 0 {
            return Ok(());
        }
        let wanted = wanted.min(self.left());
        self.bytes = input.refill(self.bytes, wanted).ok_or(NO_MEMORY)?;
        Ok(())
    }

    /// The next `len` bytes as a buffer of its own, if they are not at hand.
    #[inline]
    fn take_buffer(&mut self, len: usize) -> Result<Option<Vec<u8>>> {
        match self.bytes.len() < len {
            true => self.take_long_buffer(len).map(Some),
            false => Ok(None),
        }
    }

    #[cold]
    fn take_long_buffer(&mut self, len: usize) -> Result<Vec<u8>> {
        let input = self.more.filter(|_| len <= self.left());
        let input = input.ok_or(Error::DeserializeUnexpectedEnd)?;
        let buffer = input.take_buffer(self.bytes, len - self.bytes.len());
        self.bytes = &[];
        buffer.ok_or(NO_MEMORY)
    }

    #[inline]
    fn take_byte(&mut self) -> Result<u8> {
        self.have(1)?;
        let (byte, rest) = self
            .bytes
            .split_first()
            .ok_or(Error::DeserializeUnexpectedEnd)?;
        self.bytes = rest;
        Ok(*byte)
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'de [u8]> {
        self.have(len)?;
        let taken = self.bytes.split_at_checked(len);
        let (taken, rest) = taken.ok_or(Error::DeserializeUnexpectedEnd)?;
        self.bytes = rest;
        Ok(taken)
    }

    #[inline]
    fn take_array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.have(N)?;
        let taken = self.bytes.split_first_chunk();
        let (taken, rest) = taken.ok_or(Error::DeserializeUnexpectedEnd)?;
        self.bytes = rest;
        Ok(*taken)
    }

    /// A number of at most `bits` bits.
    #[inline]
    fn take_number(&mut self, bits: u32) -> Result<u64> {
        match varint::take(&mut self.bytes, bits) {
            Err(Error::DeserializeUnexpectedEnd) => {
                self.refill(LONGEST_NUMBER)?;
                varint::take(&mut self.bytes, bits)
            }
            taken => taken,
        }
    }

    #[inline]
    fn take_long_number(&mut self) -> Result<u128> {
        if self.more.is_some() {
            self.have(LONGEST_NUMBER)?;
        }
        varint::take_long(&mut self.bytes)
    }

    #[inline]
    fn take_len(&mut self) -> Result<usize> {
        self.take_number(usize::BITS).map(|len| len as usize)
    }

    #[inline]
    fn take_bytes(&mut self) -> Result<&'de [u8]> {
        let len = self.take_len()?;
        self.take(len)
    }

    #[inline]
    fn take_text(&mut self, len: usize) -> Result<&'de str> {
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map_err(|_| Error::DeserializeBadUtf8)
    }

    #[inline]
    fn take_char(&mut self) -> Result<char> {
        let text = match self.take_len()? {
            len @ 0..=4 => std::str::from_utf8(self.take(len)?),
            _ => return Err(Error::DeserializeBadChar),
        };
        // Postcard ignores further characters, which no encoder writes.
        let first = text.ok().and_then(|text| text.chars().next());
        first.ok_or(Error::DeserializeBadChar)
    }

    #[inline]
    fn take_bool(&mut self, otherwise: Error) -> Result<bool> {
        match self.take_byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(otherwise),
        }
    }

    /// Fails if the recursion has come too far down the stack. Called wherever a value contains another.
    #[inline]
    fn nest(&self) -> Result<()> {
        match stack::position() > self.stack_limit {
            true => Ok(()),
            false => Err(TOO_DEEP),
        }
    }

    /// The length of a sequence or map, if the bytes that are left can hold it.
    #[inline]
    fn take_part_count(&mut self) -> Result<usize> {
        self.nest()?;
        let len = self.take_len()?;
        match len <= self.left() + MOST_EMPTY_PARTS {
            true => Ok(len),
            false => Err(Error::DeserializeUnexpectedEnd),
        }
    }

    /// Lets `visitor` read `len` parts.
    #[inline]
    fn parts<V: Visitor<'de>>(&mut self, len: usize, visitor: V) -> Result<V::Value> {
        let of = self;
        visitor.visit_seq(ReadParts { of, left: len })
    }

    /// Lets `visitor` read `len` parts of one byte each: the position stays in a register.
    #[inline]
    fn bytes<V: Visitor<'de>>(&mut self, len: usize, visitor: V) -> Result<V::Value> {
        let mut parts = ReadParts {
            of: Self { ..*self },
            left: len,
        };
        let value = visitor.visit_seq(&mut parts)?;
        self.bytes = parts.of.bytes;
        Ok(value)
    }
}

macro_rules! read_plain {
    ($($method:ident $visit:ident($decoder:ident) $value:expr;)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            let $decoder = self;
            visitor.$visit($value)
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Decoder<'de> {
    type Error = Error;

    // The lowest bit of a signed number is the sign.
    read_plain! {
        deserialize_bool visit_bool(it) it.take_bool(Error::DeserializeBadBool)?;
        deserialize_u8 visit_u8(it) it.take_byte()?;
        deserialize_i8 visit_i8(it) it.take_byte()? as i8;
        deserialize_u16 visit_u16(it) it.take_number(16)? as u16;
        deserialize_i16 visit_i16(it) varint::signed(it.take_number(16)?) as i16;
        deserialize_u32 visit_u32(it) it.take_number(32)? as u32;
        deserialize_i32 visit_i32(it) varint::signed(it.take_number(32)?) as i32;
        deserialize_u64 visit_u64(it) it.take_number(64)?;
        deserialize_i64 visit_i64(it) varint::signed(it.take_number(64)?);
        deserialize_u128 visit_u128(it) it.take_long_number()?;
        deserialize_i128 visit_i128(it) varint::signed_long(it.take_long_number()?);
        deserialize_f32 visit_f32(it) f32::from_le_bytes(it.take_array()?);
        deserialize_f64 visit_f64(it) f64::from_le_bytes(it.take_array()?);
        deserialize_char visit_char(it) it.take_char()?;
        deserialize_str visit_borrowed_str(it) { let len = it.take_len()?; it.take_text(len)? };
        deserialize_bytes visit_borrowed_bytes(it) it.take_bytes()?;
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let len = self.take_len()?;
        match self.take_buffer(len)?.map(String::from_utf8) {
            Some(Ok(text)) => visitor.visit_string(text),
            Some(Err(_)) => Err(Error::DeserializeBadUtf8),
            None => visitor.visit_borrowed_str(self.take_text(len)?),
        }
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let len = self.take_len()?;
        match self.take_buffer(len)? {
            Some(bytes) => visitor.visit_byte_buf(bytes),
            None => visitor.visit_borrowed_bytes(self.take(len)?),
        }
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.nest()?;
        match self.take_bool(Error::DeserializeBadOption)? {
            true => visitor.visit_some(self),
            false => visitor.visit_none(),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        self.nest()?;
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let len = self.take_part_count()?;
        self.parts(len, visitor)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        self.nest()?;
        // A type with as many bytes as parts is nearly always an array of bytes.
        match size_of::<V::Value>() == len {
            true => self.bytes(len, visitor),
            false => self.parts(len, visitor),
        }
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let left = self.take_part_count()?;
        visitor.visit_map(ReadParts { of: self, left })
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.nest()?;
        visitor.visit_enum(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value> {
        Err(Error::WontImplement)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value> {
        Err(Error::WontImplement)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value> {
        Err(Error::WontImplement)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Reads the parts of a sequence, tuple, map or struct.
struct ReadParts<D> {
    of: D,
    left: usize,
}

impl<D> ReadParts<D> {
    #[inline]
    fn next<'de, S>(&mut self, seed: S) -> Result<Option<S::Value>>
    where
        D: BorrowMut<Decoder<'de>>,
        S: DeserializeSeed<'de>,
    {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(self.of.borrow_mut()).map(Some)
    }

    /// How many parts are left, unless that is more than the bytes that are left: a corrupt length must not make the
    /// type reserve memory for it.
    #[inline]
    fn plausible_len<'de>(&self) -> Option<usize>
    where
        D: BorrowMut<Decoder<'de>>,
    {
        (self.left <= self.of.borrow().left()).then_some(self.left)
    }
}

impl<'de, D: BorrowMut<Decoder<'de>>> SeqAccess<'de> for ReadParts<D> {
    type Error = Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        self.next(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.plausible_len()
    }
}

impl<'de, D: BorrowMut<Decoder<'de>>> MapAccess<'de> for ReadParts<D> {
    type Error = Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        self.next(seed)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value> {
        seed.deserialize(self.of.borrow_mut())
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.plausible_len()
    }
}

impl<'de> EnumAccess<'de> for &mut Decoder<'de> {
    type Error = Error;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self)> {
        let index = self.take_number(32)? as u32;
        Ok((seed.deserialize(index.into_deserializer())?, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Decoder<'de> {
    type Error = Error;

    #[inline]
    fn unit_variant(self) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value> {
        seed.deserialize(self)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;
    use crate::codec::shared_input::Chunk;
    use crate::sys::memory;
    use crate::sys::memory::Mapping;

    /// Whether the visitor was given a buffer of its own, and how long that was.
    struct Given;

    impl<'de> Visitor<'de> for Given {
        type Value = (bool, usize);

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: serde::de::Error>(
            self,
            bytes: &[u8],
        ) -> std::result::Result<(bool, usize), E> {
            Ok((false, bytes.len()))
        }

        fn visit_byte_buf<E: serde::de::Error>(
            self,
            bytes: Vec<u8>,
        ) -> std::result::Result<(bool, usize), E> {
            Ok((true, bytes.len()))
        }

        fn visit_str<E: serde::de::Error>(
            self,
            text: &str,
        ) -> std::result::Result<(bool, usize), E> {
            Ok((false, text.len()))
        }

        fn visit_string<E: serde::de::Error>(
            self,
            text: String,
        ) -> std::result::Result<(bool, usize), E> {
            Ok((true, text.len()))
        }
    }

    #[test]
    fn long_buffer_is_given_to_a_type_that_asks_for_its_own() {
        for (len, given) in [(1_000, false), (8 << 20, true)] {
            let bytes = postcard::to_allocvec(&"x".repeat(len)).unwrap();
            let memory = memory::memfd("test", bytes.len()).unwrap();
            let mapping = Mapping::whole(&memory, bytes.len()).unwrap();
            mapping.write(0, &bytes);
            let read = |read: fn(&mut Decoder<'_>) -> Result<(bool, usize)>| {
                let first = Chunk::default();
                let input = SharedInput::new(mapping.shared(0, bytes.len()), &first);
                read(&mut Decoder::shared(&input))
            };
            let own = read(|it| it.deserialize_byte_buf(Given));
            assert_eq!(own, Ok((given, len)));
            let own = read(|it| it.deserialize_string(Given));
            assert_eq!(own, Ok((given, len)));
            let lent = read(|it| it.deserialize_bytes(Given));
            assert_eq!(lent, Ok((false, len)));
        }
    }
}
