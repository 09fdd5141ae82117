//! The format is postcard's, byte for byte.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use postcard::Error as Cause;
use serde::ser::{SerializeTuple as _, Serializer};

use super::encoder::Encoder;
use super::error::Error;
use crate::codec::codec;
use crate::sys::buffer::WriteCursor;

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
    fn bytes_are_those_of_postcard(value in everything(), cut: prop::sample::Index, byte: u8) {
        let expected = postcard::to_allocvec(&value).unwrap();
        let mut memory = vec![0; expected.len() + 20];
        let rest = Encoder::encode(&value, WriteCursor::of(&mut memory)).map(|cursor| cursor.room());
        prop_assert_eq!(rest, Ok(20));
        prop_assert_eq!(&memory[..expected.len()], &expected[..]);
        prop_assert_eq!(codec::decode::<Everything>(&expected), Ok(value.clone()));
        let fits = Encoder::encode(&value, WriteCursor::of(&mut memory[..expected.len()])).is_ok();
        prop_assert!(fits);

        // Too little memory, too few bytes, and a changed byte.
        let cut = cut.index(expected.len());
        let full = Encoder::encode(&value, WriteCursor::of(&mut memory[..cut])).err();
        prop_assert_eq!(full, Some(Error(Cause::SerializeBufferFull)));
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
fn char_is_read_as_postcard_reads_it() {
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
fn error_that_a_serialize_ignores_is_not_lost() {
    struct Ignores;

    impl Serialize for Ignores {
        fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
            let mut parts = serializer.serialize_tuple(2)?;
            let _ = parts.serialize_element("more than fits");
            parts.serialize_element(&1_u8)?;
            parts.end()
        }
    }

    struct Loses;

    impl Serialize for Loses {
        fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
            let mut parts = serializer.serialize_tuple(2)?;
            let _ = parts.serialize_element(&Forgets);
            parts.end()
        }
    }

    struct Forgets;

    impl Serialize for Forgets {
        fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
            let parts = serializer.serialize_tuple(2)?;
            drop(parts);
            Err(serde::ser::Error::custom("it was forgotten"))
        }
    }

    assert!(Encoder::encode(&Ignores, WriteCursor::of(&mut [0; 5])).is_err());
    assert!(Encoder::encode(&Loses, WriteCursor::of(&mut [0; 50])).is_err());
}
