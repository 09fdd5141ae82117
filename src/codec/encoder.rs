//! Encoding into memory that exists already: postcard's format, several times faster than postcard's serialiser.
//!
//! The [format](https://postcard.jamesmunns.com/wire-format) is postcard's, byte for byte. Postcard's serialiser keeps
//! its write position behind a reference, and the compiler must assume that every byte it writes may change the
//! position; so each byte waits for the one before. Here a sequence takes the position along as a value and puts it
//! back when the sequence ends, so the position is in a register while plain values are written.

use postcard::Error as Cause;
use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::error::{Error, Result};
use super::output::ByteOutput;
use crate::sys::stack;

/// The error of a value that is nested too deeply for the stack of this thread. Postcard has no such error, and gives
/// this one in no other case.
pub(super) const TOO_DEEP: Error = Error(Cause::NotYetImplemented);

/// Writes values to an output. After an error the output is the default.
pub(super) struct Encoder<O> {
    output: O,
    /// The lowest address that the recursion may reach, or [`stack::UNKNOWN_LIMIT`]: most values contain
    /// no other, and need none.
    stack_limit: usize,
}

impl<O: ByteOutput> Encoder<O> {
    /// Encodes `value` and returns the output behind it.
    #[inline]
    pub(super) fn encode<T: Serialize + ?Sized>(value: &T, output: O) -> Result<O> {
        let mut encoder = Self {
            output,
            stack_limit: stack::UNKNOWN_LIMIT,
        };
        value.serialize(&mut encoder)?;
        match encoder.output.is_default() {
            false => Ok(encoder.output),
            // The `Serialize` ignored an error, or did not end a sequence that it began.
            true => Err(Error(Cause::SerdeSerCustom)),
        }
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
            false => {
                self.output = O::default();
                Err(TOO_DEEP)
            }
        }
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        match self.output.put(bytes) {
            true => Ok(()),
            false => self.give_up(),
        }
    }

    #[inline]
    fn put_number(&mut self, number: u64) -> Result<()> {
        match self.output.put_varint(number) {
            true => Ok(()),
            false => self.give_up(),
        }
    }

    #[cold]
    fn give_up(&mut self) -> Result<()> {
        self.output = O::default();
        Err(Error(Cause::SerializeBufferFull))
    }

    /// A number that is longer than a register.
    fn put_long_number(&mut self, mut number: u128) -> Result<()> {
        while number >= 0x80 {
            self.put(&[number as u8 | 0x80])?;
            number >>= 7;
        }
        self.put(&[number as u8])
    }

    #[inline]
    fn put_len(&mut self, len: Option<usize>) -> Result<()> {
        match len {
            Some(len) => self.put_number(len as u64),
            None => Err(Error(Cause::SerializeSeqLengthUnknown)),
        }
    }

    #[inline]
    fn parts(&mut self) -> Result<WriteParts<'_, O>> {
        self.nest()?;
        Ok(WriteParts {
            own: Encoder {
                output: std::mem::take(&mut self.output),
                stack_limit: self.stack_limit,
            },
            home: self,
        })
    }
}

macro_rules! write_numbers {
    ($($method:ident($number:ident: $type:ty) $write:ident $encoded:expr;)*) => {$(
        #[inline]
        fn $method(self, $number: $type) -> Result<()> {
            self.$write($encoded)
        }
    )*};
}

impl<'a, O: ByteOutput> Serializer for &'a mut Encoder<O> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = WriteParts<'a, O>;
    type SerializeTuple = WriteParts<'a, O>;
    type SerializeTupleStruct = WriteParts<'a, O>;
    type SerializeTupleVariant = WriteParts<'a, O>;
    type SerializeMap = WriteParts<'a, O>;
    type SerializeStruct = WriteParts<'a, O>;
    type SerializeStructVariant = WriteParts<'a, O>;

    // Signed numbers zigzag: the sign goes into the lowest bit, so that small numbers stay short.
    write_numbers! {
        serialize_bool(it: bool) put &[u8::from(it)];
        serialize_u8(it: u8) put &[it];
        serialize_i8(it: i8) put &it.to_le_bytes();
        serialize_u16(it: u16) put_number u64::from(it);
        serialize_i16(it: i16) put_number u64::from(((it << 1) ^ (it >> 15)) as u16);
        serialize_u32(it: u32) put_number u64::from(it);
        serialize_i32(it: i32) put_number u64::from(((it << 1) ^ (it >> 31)) as u32);
        serialize_u64(it: u64) put_number it;
        serialize_i64(it: i64) put_number ((it << 1) ^ (it >> 63)) as u64;
        serialize_u128(it: u128) put_long_number it;
        serialize_i128(it: i128) put_long_number ((it << 1) ^ (it >> 127)) as u128;
        serialize_f32(it: f32) put &it.to_le_bytes();
        serialize_f64(it: f64) put &it.to_le_bytes();
    }

    #[inline]
    fn serialize_char(self, it: char) -> Result<()> {
        self.serialize_str(it.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Result<()> {
        self.serialize_bytes(text.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, bytes: &[u8]) -> Result<()> {
        self.put_number(bytes.len() as u64)?;
        self.put(bytes)
    }

    #[inline]
    fn serialize_none(self) -> Result<()> {
        self.put(&[0])
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        self.put(&[1])?;
        self.nest()?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Result<()> {
        self.put_number(u64::from(index))
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<()> {
        self.nest()?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<()> {
        self.put_number(u64::from(index))?;
        self.nest()?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<WriteParts<'a, O>> {
        self.put_len(len)?;
        self.parts()
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<WriteParts<'a, O>> {
        self.parts()
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<WriteParts<'a, O>> {
        self.parts()
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<WriteParts<'a, O>> {
        self.put_number(u64::from(index))?;
        self.parts()
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<WriteParts<'a, O>> {
        self.put_len(len)?;
        self.parts()
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<WriteParts<'a, O>> {
        self.parts()
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<WriteParts<'a, O>> {
        self.put_number(u64::from(index))?;
        self.parts()
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Writes the parts of a sequence, tuple, map or struct.
pub(super) struct WriteParts<'a, O> {
    own: Encoder<O>,
    /// Where the position is put back.
    home: &'a mut Encoder<O>,
}

impl<O: ByteOutput> WriteParts<'_, O> {
    // Always inlined, as is what calls it: a part is often one byte, and an array has many.
    #[inline(always)]
    fn put<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        value.serialize(&mut self.own)
    }

    #[inline]
    fn finish(self) -> Result<()> {
        *self.home = self.own;
        Ok(())
    }
}

macro_rules! write_parts {
    ($($trait:ident: $($method:ident($($key:ty)?))*;)*) => {$(
        impl<O: ByteOutput> $trait for WriteParts<'_, O> {
            type Ok = ();
            type Error = Error;

            $(
                #[inline(always)]
                fn $method<T: Serialize + ?Sized>(
                    &mut self,
                    $(_: $key,)?
                    value: &T,
                ) -> Result<()> {
                    self.put(value)
                }
            )*

            #[inline]
            fn end(self) -> Result<()> {
                self.finish()
            }
        }
    )*};
}

write_parts! {
    SerializeSeq: serialize_element();
    SerializeTuple: serialize_element();
    SerializeTupleStruct: serialize_field();
    SerializeTupleVariant: serialize_field();
    SerializeMap: serialize_key() serialize_value();
    SerializeStruct: serialize_field(&'static str);
    SerializeStructVariant: serialize_field(&'static str);
}
