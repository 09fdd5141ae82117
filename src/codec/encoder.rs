//! Encoding into memory that is there, as postcard does and several times faster.
//!
//! The [format](https://postcard.jamesmunns.com/wire-format) is postcard's, byte for byte. Its own serialiser keeps
//! the place where it writes in memory behind references that the compiler must believe to be changed by
//! every byte it writes; so each byte waits for the one before. Here a sequence takes that place along as a value, and puts
//! it back when it ends: it is in a register while what is written is plain.

use postcard::{Error, Result};
use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use crate::sys::buffer::WriteCursor;

/// Writes values into a gap. After an error it is nowhere.
pub(super) struct Encoder<'w>(WriteCursor<'w>);

impl<'w> Encoder<'w> {
    /// Encodes `value` and returns what is left of `gap`.
    #[inline]
    pub(super) fn encode<T: Serialize + ?Sized>(
        value: &T,
        gap: WriteCursor<'w>,
    ) -> Result<WriteCursor<'w>> {
        let mut encoder = Self(gap);
        value.serialize(&mut encoder)?;
        match encoder.0.has_no_memory() {
            false => Ok(encoder.0),
            // Its `Serialize` has passed over an error, or not ended what it began.
            true => Err(Error::SerdeSerCustom),
        }
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        match self.0.put(bytes) {
            true => Ok(()),
            false => self.give_up(),
        }
    }

    #[inline]
    fn put_number(&mut self, number: u64) -> Result<()> {
        match self.0.put_varint(number) {
            true => Ok(()),
            false => self.give_up(),
        }
    }

    #[cold]
    fn give_up(&mut self) -> Result<()> {
        self.0 = WriteCursor::default();
        Err(Error::SerializeBufferFull)
    }

    /// For what is longer than a register.
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
            None => Err(Error::SerializeSeqLengthUnknown),
        }
    }

    #[inline]
    fn parts(&mut self) -> Result<Parts<'_, 'w>> {
        Ok(Parts {
            own: Encoder(std::mem::take(&mut self.0)),
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

impl<'a, 'w> Serializer for &'a mut Encoder<'w> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Parts<'a, 'w>;
    type SerializeTuple = Parts<'a, 'w>;
    type SerializeTupleStruct = Parts<'a, 'w>;
    type SerializeTupleVariant = Parts<'a, 'w>;
    type SerializeMap = Parts<'a, 'w>;
    type SerializeStruct = Parts<'a, 'w>;
    type SerializeStructVariant = Parts<'a, 'w>;

    // Signed ones zigzag: the sign goes into the lowest bit, so that small ones stay short.
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
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Parts<'a, 'w>> {
        self.put_len(len)?;
        self.parts()
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Parts<'a, 'w>> {
        self.parts()
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Parts<'a, 'w>> {
        self.parts()
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Parts<'a, 'w>> {
        self.put_number(u64::from(index))?;
        self.parts()
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Parts<'a, 'w>> {
        self.put_len(len)?;
        self.parts()
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Parts<'a, 'w>> {
        self.parts()
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Parts<'a, 'w>> {
        self.put_number(u64::from(index))?;
        self.parts()
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The parts of a value that has several.
pub(super) struct Parts<'a, 'w> {
    own: Encoder<'w>,
    /// Where to put it back.
    home: &'a mut Encoder<'w>,
}

impl Parts<'_, '_> {
    #[inline]
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
        impl $trait for Parts<'_, '_> {
            type Ok = ();
            type Error = Error;

            $(
                #[inline]
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::codec::codec;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Unit;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Wrapped(i16);

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Pair(u16, Unit);

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Choice {
        Nothing,
        One(Wrapped),
        Two(i8, char),
        Named { at: f32, of: Option<Box<Choice>> },
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Everything {
        numbers: (u8, u16, u32, u64, u128),
        signed: (i8, i16, i32, i64, i128),
        floats: [f64; 3],
        flags: [bool; 2],
        text: String,
        bytes: serde_bytes::ByteBuf,
        list: Vec<u8>,
        names: BTreeMap<String, Choice>,
        pair: Pair,
        nested: Vec<(char, Option<Vec<i32>>)>,
    }

    fn choices() -> impl Strategy<Value = Choice> {
        let leaf = prop_oneof![
            Just(Choice::Nothing),
            any::<i16>().prop_map(|n| Choice::One(Wrapped(n))),
            (any::<i8>(), any::<char>()).prop_map(|(n, c)| Choice::Two(n, c)),
        ];
        leaf.prop_recursive(3, 8, 1, |inner| {
            (-1e9_f32..1e9, proptest::option::of(inner)).prop_map(|(at, of)| Choice::Named {
                at,
                of: of.map(Box::new),
            })
        })
    }

    prop_compose! {
        fn everything()(
            numbers: (u8, u16, u32, u64, u128),
            signed: (i8, i16, i32, i64, i128),
            floats in [-1e300..1e300, -1.0..1.0, 0.0..1e-300],
            flags: [bool; 2],
            text: String,
            bytes: Vec<u8>,
            list: Vec<u8>,
            names in proptest::collection::btree_map(".*", choices(), 0..4),
            number: u16,
            nested: Vec<(char, Option<Vec<i32>>)>,
        ) -> Everything {
            Everything {
                numbers,
                signed,
                floats,
                flags,
                text,
                bytes: bytes.into(),
                list,
                names,
                pair: Pair(number, Unit),
                nested,
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_and_read_is_postcards(value in everything(), cut: prop::sample::Index, byte: u8) {
            let expected = postcard::to_allocvec(&value).unwrap();
            let mut room = vec![0; expected.len() + 20];
            let rest = Encoder::encode(&value, WriteCursor::of(&mut room)).map(|gap| gap.room());
            prop_assert_eq!(rest, Ok(20));
            prop_assert_eq!(&room[..expected.len()], &expected[..]);
            prop_assert_eq!(codec::decode::<Everything>(&expected), Ok(value.clone()));
            let fits = Encoder::encode(&value, WriteCursor::of(&mut room[..expected.len()])).is_ok();
            prop_assert!(fits);

            // It does not fit, or not all of it is there, or not as it was.
            let cut = cut.index(expected.len());
            let full = Encoder::encode(&value, WriteCursor::of(&mut room[..cut])).err();
            prop_assert_eq!(full, Some(Error::SerializeBufferFull));
            prop_assert!(codec::decode::<Everything>(&expected[..cut]).is_err());
            let mut changed = expected;
            changed[cut] = byte;
            let theirs = postcard::take_from_bytes::<Everything>(&changed);
            let theirs = theirs.ok().filter(|(_, rest)| rest.is_empty());
            let again = |value: &Everything| postcard::to_allocvec(value);
            let ours = codec::decode::<Everything>(&changed).ok();
            prop_assert_eq!(ours.as_ref().map(again), theirs.map(|(value, _)| again(&value)));
        }
    }

    #[test]
    fn a_char_is_read_as_postcard_reads_it() {
        let all: [&[u8]; 7] = [
            &[2, 1, 42],
            &[4, 0, 0, 0, 0],
            &[3, 0xe2, 0x82, 0xac],
            &[0],
            &[5, 1, 1, 1, 1, 1],
            &[1, 0xff],
            &[2, 1],
        ];
        for bytes in all {
            let theirs = postcard::from_bytes::<char>(bytes).ok();
            assert_eq!(codec::decode::<char>(bytes).ok(), theirs, "{bytes:?}");
        }
    }

    #[test]
    fn an_error_that_is_passed_over_is_one_all_the_same() {
        struct PassesOver;

        impl Serialize for PassesOver {
            fn serialize<S: Serializer>(
                &self,
                serializer: S,
            ) -> std::result::Result<S::Ok, S::Error> {
                let mut parts = serializer.serialize_tuple(2)?;
                let _ = parts.serialize_element("more than fits");
                parts.serialize_element(&1_u8)?;
                parts.end()
            }
        }

        struct Loses;

        impl Serialize for Loses {
            fn serialize<S: Serializer>(
                &self,
                serializer: S,
            ) -> std::result::Result<S::Ok, S::Error> {
                let mut parts = serializer.serialize_tuple(2)?;
                let _ = parts.serialize_element(&Forgets);
                parts.end()
            }
        }

        struct Forgets;

        impl Serialize for Forgets {
            fn serialize<S: Serializer>(
                &self,
                serializer: S,
            ) -> std::result::Result<S::Ok, S::Error> {
                let parts = serializer.serialize_tuple(2)?;
                drop(parts);
                Err(serde::ser::Error::custom("it was forgotten"))
            }
        }

        assert!(Encoder::encode(&PassesOver, WriteCursor::of(&mut [0; 5])).is_err());
        assert!(Encoder::encode(&Loses, WriteCursor::of(&mut [0; 50])).is_err());
    }
}
