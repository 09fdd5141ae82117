//! Values as bytes: [postcard](https://postcard.jamesmunns.com/wire-format), written in place.
//!
//! [`encoder`](super::encoder) writes and [`decoder`](super::decoder) reads this format. Both stop at a value that is
//! nested so deeply that the recursion would overflow the stack of the thread.
//!
//! Postcard is compact and fast because it is not self-describing: both sides must agree on the type, and they do,
//! because they are the same program. What serde offers only to self-describing formats cannot be carried; the errors
//! say so.
//!
//! Must stay true: a panic of a value's `Serialize` or `Deserialize` becomes an error here. Only the two `_unguarded`
//! functions let it pass, because their callers catch panics anyway.

use std::panic::{AssertUnwindSafe, catch_unwind};

use postcard::Error as Cause;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::decoder::Decoder;
use super::encoder::{Encoder, TOO_DEEP};
use super::error::{self, Error};
use super::input::{Input, NO_MEMORY};
use super::output::Pieces;
use super::shared_input::{Chunk, SharedInput};
use crate::ring::Writer;
use crate::sys::buffer::{StackBuf, WriteCursor};
use crate::sys::memory::SharedBytes;

/// Why a value was not encoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EncodeFault {
    /// The bytes do not fit into the given memory.
    Full,
    /// The value cannot be carried at all.
    Refused(String),
}

/// Appends `value` to a frame. After a fault the frame is as before.
#[inline]
pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
    writer: &mut Writer<'_>,
) -> Result<(), EncodeFault> {
    guarded(|| writer.fill(|cursor| Encoder::encode(value, cursor)))
}

/// Like [`encode`], but a panic of the value's `Serialize` passes through.
#[inline]
pub(crate) fn encode_unguarded<T: Serialize + ?Sized>(
    value: &T,
    writer: &mut Writer<'_>,
) -> Result<(), EncodeFault> {
    writer
        .fill(|cursor| Encoder::encode(value, cursor))
        .map_err(fault)
}

/// The number of bytes that `value` takes.
pub(crate) fn measure<T: Serialize + ?Sized>(value: &T) -> Result<usize, EncodeFault> {
    let mut len = 0;
    encode_with(value, |piece| {
        len += piece.len();
        true
    })?;
    Ok(len)
}

/// Counts at most so many parts of a value: about a millisecond's work.
const MOST_MEASURED_PARTS: usize = 1 << 20;

/// The number of bytes that `value` takes, or its first [`MOST_MEASURED_PARTS`] parts. 0 if it cannot be encoded.
pub(crate) fn measure_bounded<T: Serialize + ?Sized>(value: &T) -> usize {
    let (mut len, mut parts) = (0, 0);
    let measured = encode_with(value, |piece| {
        len += piece.len();
        parts += 1;
        parts < MOST_MEASURED_PARTS
    });
    match measured {
        Err(EncodeFault::Refused(_)) => 0,
        _ => len,
    }
}

/// Appends `value` to `out`.
pub(crate) fn encode_to_vec<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), EncodeFault> {
    let before = out.len();
    let encoded = encode_with(value, |piece| {
        out.extend_from_slice(piece);
        true
    });
    if encoded.is_err() {
        out.truncate(before);
    }
    encoded
}

/// Replaces the content of `buf` by `value`.
#[inline]
pub(crate) fn encode_to_stack<T: Serialize + ?Sized>(
    value: &T,
    buf: &mut StackBuf,
) -> Result<(), EncodeFault> {
    guarded(|| buf.fill(|cursor| Encoder::encode(value, cursor)))
}

/// Writes `value` to the start of `memory`. Returns how many bytes it takes.
#[inline]
pub(crate) fn encode_to_slice<T: Serialize + ?Sized>(
    value: &T,
    memory: &mut [u8],
) -> Result<usize, EncodeFault> {
    let room = memory.len();
    let rest = guarded(|| Encoder::encode(value, WriteCursor::of(memory)))?;
    Ok(room.saturating_sub(rest.room()))
}

/// Appends `value` to `out`, if `out` then has at most `most` bytes.
pub(crate) fn encode_bounded<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
    most: usize,
) -> Result<(), EncodeFault> {
    encode_with(value, |piece| {
        let fits = piece.len() <= most.saturating_sub(out.len());
        if fits {
            out.extend_from_slice(piece);
        }
        fits
    })
}

/// Encodes `value` by giving every piece of it to `put`, in order. `put` says whether there was space.
pub(crate) fn encode_with<T: Serialize + ?Sized>(
    value: &T,
    put: impl FnMut(&[u8]) -> bool,
) -> Result<(), EncodeFault> {
    guarded(|| Encoder::encode(value, Pieces::new(put)).map(drop))
}

/// Decodes a value that takes all of `bytes`.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut decoded = Err(DecodeFault::LeftOver(bytes.len()));
    // The closure does not return the value: moving it again costs as much as decoding it.
    match catch_unwind(AssertUnwindSafe(|| decoded = decode_plainly(bytes))) {
        Ok(()) => decoded.map_err(DecodeFault::explain),
        Err(panic) => Err(decode_panicked(&*panic)),
    }
}

/// Like [`decode`], but a panic of the type's `Deserialize` passes through.
#[inline]
pub(crate) fn decode_unguarded<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    decode_plainly(bytes).map_err(DecodeFault::explain)
}

/// Decodes a value that takes all of `bytes`, each of which is copied before it is read: another process may write them
/// meanwhile.
pub(crate) fn decode_shared<T: DeserializeOwned>(bytes: SharedBytes<'_>) -> Result<T, String> {
    let first = Chunk::default();
    let input = SharedInput::new(bytes, &first);
    let mut decoded = Err(DecodeFault::LeftOver(bytes.len()));
    match catch_unwind(AssertUnwindSafe(|| {
        decoded = decode_all(Decoder::new(Input::shared(&input)));
    })) {
        Ok(()) => decoded.map_err(DecodeFault::explain),
        Err(panic) => Err(decode_panicked(&*panic)),
    }
}

/// Why bytes are not a value.
enum DecodeFault {
    Error(Error),
    LeftOver(usize),
}

impl DecodeFault {
    #[cold]
    fn explain(self) -> String {
        match self {
            Self::Error(error) => explain(error),
            Self::LeftOver(bytes) => left_over(bytes),
        }
    }
}

#[inline]
fn decode_plainly<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeFault> {
    decode_all(Decoder::new(Input::of(bytes)))
}

#[inline]
fn decode_all<'de, T: DeserializeOwned>(mut decoder: Decoder<'de>) -> Result<T, DecodeFault> {
    let value = T::deserialize(&mut decoder).map_err(DecodeFault::Error)?;
    match decoder.left() {
        0 => Ok(value),
        left => Err(DecodeFault::LeftOver(left)),
    }
}

/// The text of the error for a panic while decoding.
#[cold]
pub(crate) fn decode_panicked(payload: &(dyn std::any::Any + Send)) -> String {
    let text = panic_text(payload);
    format!("its Deserialize implementation panicked: {text}")
}

/// The text of the error for a panic while encoding.
#[cold]
pub(crate) fn encode_panicked(payload: &(dyn std::any::Any + Send)) -> String {
    let text = panic_text(payload);
    format!("its Serialize implementation panicked: {text}")
}

#[cold]
fn left_over(bytes: usize) -> String {
    format!("{bytes} bytes were left over: {NOT_SELF_DESCRIBING}")
}

/// The message of a panic, if it is text.
pub(crate) fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is not text")
}

const NOT_SELF_DESCRIBING: &str = "the encoding (postcard) is not self-describing, so #[serde(flatten)], \
     untagged and internally tagged enums, skip_serializing_if and sequences of unknown length \
     cannot be carried";

fn guarded<T>(encode: impl FnOnce() -> error::Result<T>) -> Result<T, EncodeFault> {
    match catch_unwind(AssertUnwindSafe(encode)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(fault(error)),
        Err(panic) => Err(EncodeFault::Refused(encode_panicked(&*panic))),
    }
}

fn fault(error: Error) -> EncodeFault {
    match error {
        Error(Cause::SerializeBufferFull) => EncodeFault::Full,
        other => EncodeFault::Refused(explain(other)),
    }
}

#[cold]
fn explain(error: Error) -> String {
    match error {
        Error(Cause::SerdeSerCustom) => error::last_fault("Serialize")
            .unwrap_or_else(|| "its Serialize implementation ignored an error".to_owned()),
        Error(Cause::SerdeDeCustom) => error::last_fault("Deserialize").unwrap_or_default(),
        NO_MEMORY => "there is not enough memory for it".to_owned(),
        TOO_DEEP => "it is nested too deeply for the stack of this thread".to_owned(),
        Error(Cause::WontImplement | Cause::SerializeSeqLengthUnknown) => {
            NOT_SELF_DESCRIBING.to_owned()
        }
        other => format!("{other} ({NOT_SELF_DESCRIBING})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        A { n: u32 },
    }

    struct Panics;

    impl Serialize for Panics {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("no bytes for you")
        }
    }

    fn bytes_of<T: Serialize>(value: &T) -> Vec<u8> {
        let mut out = Vec::new();
        encode_to_vec(value, &mut out).unwrap();
        assert_eq!(measure(value), Ok(out.len()));
        out
    }

    #[test]
    fn value_comes_back() {
        let value = (7_u64, "text".to_owned(), vec![1.5_f64], Some(()));
        assert_eq!(decode(&bytes_of(&value)), Ok(value));
    }

    #[test]
    fn long_value_comes_back_wherever_it_is_nested() {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        enum Shape {
            None,
            Bytes(serde_bytes::ByteBuf),
            Pair(u8, String),
            Named {
                parts: Vec<serde_bytes::ByteBuf>,
                on: Option<bool>,
            },
        }
        let long = serde_bytes::ByteBuf::from(vec![7; 5 << 20]);
        let text = "tausend ".repeat(1 << 20);
        let named = Shape::Named {
            parts: vec![serde_bytes::ByteBuf::new(), long.clone()],
            on: Some(true),
        };
        let all = (
            Shape::None,
            Shape::Bytes(long),
            Shape::Pair(3, text),
            std::collections::BTreeMap::from([(-1_i64, (named, 'x', ()))]),
            (1_u128, 2.5_f32, [1_i8; 3]),
        );
        let bytes = bytes_of(&all);
        assert_eq!(decode(&bytes), Ok(all));
        assert!(decode::<u8>(&bytes[..0]).is_err());
        assert!(decode::<u8>(&[1, 2]).unwrap_err().contains("left over"));
    }

    #[test]
    fn too_few_and_too_many_bytes_are_errors() {
        let bytes = bytes_of(&(1_u32, 2_u32));
        assert!(decode::<u32>(&bytes).unwrap_err().contains("left over"));
        assert!(decode::<(u32, u32, u32)>(&bytes).is_err());
    }

    #[test]
    fn type_for_self_describing_formats_is_refused_with_the_reason() {
        let bytes = bytes_of(&Tagged::A { n: 1 });
        let why = decode::<Tagged>(&bytes).unwrap_err();
        assert!(why.contains("self-describing"), "{why}");
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Nested(Option<Box<Nested>>);

    /// `Nested` is dropped by a loop: its own drop would recurse as deeply as the codec must not.
    fn unwind(mut nested: Nested) -> usize {
        let mut depth = 0;
        while let Some(inner) = nested.0.take() {
            nested = *inner;
            depth += 1;
        }
        depth
    }

    #[test]
    fn nesting_beyond_the_stack_is_an_error_both_ways() {
        let thread = std::thread::Builder::new().stack_size(512 << 10);
        let test = || {
            for (depth, fits) in [(200, true), (1_000_000, false)] {
                let nested = (0..depth).fold(Nested(None), |it, _| Nested(Some(Box::new(it))));
                let mut bytes = Vec::new();
                let encoded = encode_to_vec(&nested, &mut bytes);
                assert_eq!(encoded.is_ok(), fits, "{depth}: {encoded:?}");
                let mut buf = StackBuf::new();
                let short = encode_to_stack(&nested, &mut buf);
                assert_eq!(short.is_ok(), fits && depth < 256, "{depth}: {short:?}");
                assert_eq!(unwind(nested), depth);
                let forged = [vec![1; depth], vec![0]].concat();
                match decode::<Nested>(&forged).map(unwind) {
                    Ok(found) => assert!(fits && found == depth),
                    Err(why) => assert!(!fits && why.contains("too deeply"), "{why}"),
                }
            }
        };
        thread.spawn(test).unwrap().join().unwrap();
    }

    #[test]
    fn count_of_empty_parts_beyond_reason_is_an_error() {
        let mut forged = Vec::new();
        encode_to_vec(&(1_u64 << 62), &mut forged).unwrap();
        assert!(decode::<Vec<()>>(&forged).is_err());
        let many = vec![(); 100_000];
        assert_eq!(decode(&bytes_of(&many)), Ok(many));
    }

    #[test]
    fn panicking_serialize_is_refused() {
        let EncodeFault::Refused(why) = measure(&Panics).unwrap_err() else {
            panic!("not refused");
        };
        assert!(why.contains("no bytes for you"), "{why}");
    }
}
