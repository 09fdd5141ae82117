//! Decoding postcard's format, faster than postcard does.
//!
//! As in [`encoder`](super::encoder), the read position is carried along as a value; here only while a sequence of
//! bytes is read.
//!
//! A type that asks serde for a buffer of its own gets the copy of shared memory, made at once. Most of the cost of a
//! long copy is that the kernel provides fresh memory page by page, so it is asked for in huge pages.

use std::borrow::BorrowMut;

use postcard::Error as Cause;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer as _, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::encoder::TOO_DEEP;
use super::error::{Error, Result};
use super::input::Input;
use super::varint;
use crate::sys::stack;

/// Reads values from bytes.
pub(super) struct Decoder<'de> {
    input: Input<'de>,
    /// The lowest address that the recursion may reach, or [`stack::UNKNOWN_LIMIT`]: most values contain
    /// no other, and need none.
    stack_limit: usize,
}

/// A sequence may have this many parts more than bytes are left: parts that take no bytes, which are rarely many. A
/// corrupt length must not make a loop of years.
const MOST_EMPTY_PARTS: usize = 1 << 20;

impl<'de> Decoder<'de> {
    #[inline]
    pub(super) fn new(input: Input<'de>) -> Self {
        Self {
            input,
            stack_limit: stack::UNKNOWN_LIMIT,
        }
    }

    /// How many bytes were not read.
    #[inline]
    pub(super) fn left(&self) -> usize {
        self.input.left()
    }

    /// Fails if the recursion has come too far down the stack. Called wherever a value contains another.
    #[inline]
    fn nest(&mut self) -> Result<()> {
        match stack::position() > self.stack_limit {
            true => Ok(()),
            false => self.nest_within(stack::limit()),
        }
    }

    fn nest_within(&mut self, limit: usize) -> Result<()> {
        self.stack_limit = limit;
        match stack::position() > limit {
            true => Ok(()),
            false => Err(TOO_DEEP),
        }
    }

    /// The length of a sequence or map, if the bytes that are left can hold it.
    #[inline]
    fn take_part_count(&mut self) -> Result<usize> {
        self.nest()?;
        let len = self.input.take_len()?;
        match len <= self.input.left() + MOST_EMPTY_PARTS {
            true => Ok(len),
            false => Err(Error(Cause::DeserializeUnexpectedEnd)),
        }
    }

    /// Lets `visitor` read `len` parts.
    #[inline]
    fn parts<V: Visitor<'de>>(&mut self, len: usize, visitor: V) -> Result<V::Value> {
        let of = self;
        visitor.visit_seq(ReadParts { of, left: len })
    }

    /// Lets `visitor` read `len` parts of one byte each: the position stays in a register, if all bytes are at hand.
    #[inline]
    fn bytes<V: Visitor<'de>>(&mut self, len: usize, visitor: V) -> Result<V::Value> {
        let Some(bytes) = self.input.whole() else {
            return self.parts(len, visitor);
        };
        let mut parts = ReadBytes {
            bytes,
            left: len,
            stack_limit: self.stack_limit,
        };
        let value = visitor.visit_seq(&mut parts)?;
        self.input = Input::of(parts.bytes);
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
        deserialize_bool visit_bool(it) it.input.take_bool(Error(Cause::DeserializeBadBool))?;
        deserialize_u8 visit_u8(it) it.input.take_byte()?;
        deserialize_i8 visit_i8(it) it.input.take_byte()? as i8;
        deserialize_u16 visit_u16(it) it.input.take_number(16)? as u16;
        deserialize_i16 visit_i16(it) varint::signed(it.input.take_number(16)?) as i16;
        deserialize_u32 visit_u32(it) it.input.take_number(32)? as u32;
        deserialize_i32 visit_i32(it) varint::signed(it.input.take_number(32)?) as i32;
        deserialize_u64 visit_u64(it) it.input.take_number(64)?;
        deserialize_i64 visit_i64(it) varint::signed(it.input.take_number(64)?);
        deserialize_u128 visit_u128(it) it.input.take_long_number()?;
        deserialize_i128 visit_i128(it) varint::signed_long(it.input.take_long_number()?);
        deserialize_f32 visit_f32(it) f32::from_le_bytes(it.input.take_array()?);
        deserialize_f64 visit_f64(it) f64::from_le_bytes(it.input.take_array()?);
        deserialize_char visit_char(it) it.input.take_char()?;
        deserialize_str visit_borrowed_str(it) { let len = it.input.take_len()?; it.input.take_text(len)? };
        deserialize_bytes visit_borrowed_bytes(it) it.input.take_bytes()?;
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let len = self.input.take_len()?;
        match self.input.take_buffer(len)?.map(String::from_utf8) {
            Some(Ok(text)) => visitor.visit_string(text),
            Some(Err(_)) => Err(Error(Cause::DeserializeBadUtf8)),
            None => visitor.visit_borrowed_str(self.input.take_text(len)?),
        }
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let len = self.input.take_len()?;
        match self.input.take_buffer(len)? {
            Some(bytes) => visitor.visit_byte_buf(bytes),
            None => visitor.visit_borrowed_bytes(self.input.take(len)?),
        }
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.nest()?;
        match self.input.take_bool(Error(Cause::DeserializeBadOption))? {
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
        Err(Error(Cause::WontImplement))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value> {
        Err(Error(Cause::WontImplement))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value> {
        Err(Error(Cause::WontImplement))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Reads the parts of a tuple from bytes that are all at hand.
struct ReadBytes<'de> {
    bytes: &'de [u8],
    left: usize,
    stack_limit: usize,
}

impl<'de> SeqAccess<'de> for ReadBytes<'de> {
    type Error = Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let mut decoder = Decoder {
            input: Input::of(self.bytes),
            stack_limit: self.stack_limit,
        };
        let part = seed.deserialize(&mut decoder)?;
        // No part has taken more than there was.
        self.bytes = decoder.input.whole().unwrap_or_default();
        Ok(Some(part))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
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
        (self.left <= self.of.borrow().input.left()).then_some(self.left)
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
        let index = self.input.take_number(32)? as u32;
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
mod tests;
