//! What the fuzz targets in `fuzz/` call: the readers of what children write, given arbitrary bytes.
//!
//! Compiled for those targets and for the property tests below, which give them fewer bytes on every run.
#![allow(missing_docs, reason = "not a public interface")]
#![cfg_attr(
    not(fuzzing),
    allow(unreachable_pub, reason = "the fuzz targets are another crate")
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::call::ReplyReader;
use crate::call::envelope;
use crate::call::envelope::Reply;
use crate::call::outcomes::ReplyBody;
use crate::call::rings::RingLayout;
use crate::codec::codec;
use crate::ring::{Consumer, Producer};
use crate::sys::memory::Mapping;
use crate::sys::{memory, socket};
use crate::transfer::control::{ControlSocket, Either};
use crate::transfer::messages::{FromChild, FromForkServer, FromWorker};

/// Reads `bytes` as the frames of a reply ring. A frame is a length and its bytes; every second one has its checksum
/// put right, so that the checks behind the checksum are reached.
pub fn replies(mut bytes: &[u8]) {
    let Ok(created) = RingLayout::Worker.create(0) else {
        return;
    };
    let Ok([_, theirs]) = RingLayout::Worker.map(&created.memory) else {
        return;
    };
    let [_, ours] = created.rings;
    let Ok((a, _b)) = socket::pair() else { return };
    let mut ring: Producer = Producer::new(theirs);
    let mut reader = ReplyReader::new(Consumer::new(ours), Arc::new(ControlSocket::new(a)));
    let mut read = Vec::new();
    let mut is_honest = false;
    while let Some((len, rest)) = bytes.split_first() {
        let (frame, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        bytes = rest;
        let mut frame = frame.to_vec();
        is_honest = !is_honest;
        if let Some(head) = Reply::from_bytes(&frame).filter(|_| is_honest) {
            let checksum = head.sum(&frame[Reply::BYTES..]);
            frame[..Reply::BYTES].copy_from_slice(&Reply { checksum, ..head }.to_bytes());
        }
        let Some(mut writer) = ring.begin(frame.len()) else {
            break;
        };
        writer.extend(&frame);
        writer.commit(envelope::REPLY);
        read.clear();
        if let Some(head) = reader.next(&mut read) {
            deliver(&mut reader, &head, &read[Reply::BYTES..]);
        }
    }
    let _ = reader.salvage(&mut read);
}

fn deliver(reader: &mut ReplyReader, head: &Reply, outcomes: &[u8]) {
    let (ReplyBody::Frame(outcomes) | ReplyBody::Blob { outcomes, .. }) =
        reader.body(head, outcomes, 2);
    let mut given = 0;
    outcomes.for_each::<(u64, String)>("fuzzing", |_| given += 1);
    assert_eq!(
        given, head.count,
        "a job gets as many outcomes as the head counts"
    );
}

/// Reads `bytes` as messages of each kind that children send.
pub fn control(bytes: &[u8]) {
    let Ok((a, b)) = socket::pair() else { return };
    let control = ControlSocket::new(a);
    for kind in [3, 5, 7] {
        let message = [&[kind][..], bytes].concat();
        if socket::send(&b, &message, &[]).is_ok() {
            let _ = match kind {
                5 => control.try_recv::<FromForkServer>().map(|_| ()),
                _ => control
                    .try_recv::<Either<FromChild, FromWorker>>()
                    .map(|_| ()),
            };
        }
    }
}

/// Decodes `bytes` as values of several types, from private and from shared memory. Both must agree with postcard.
pub fn values(bytes: &[u8]) {
    type Parts = (Option<bool>, Vec<(char, i128)>, BTreeMap<u16, String>);
    compare::<Parts>(bytes);
    compare::<Vec<Vec<Option<u32>>>>(bytes);
    compare::<Result<serde_bytes_like::Bytes, f64>>(bytes);
    compare::<[u8; 32]>(bytes);
    let _ = codec::decode::<Vec<()>>(bytes);
}

fn compare<T: DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let ours = codec::decode::<T>(bytes).ok();
    let theirs = postcard::take_from_bytes::<T>(bytes).ok();
    let theirs = theirs.and_then(|(value, rest)| rest.is_empty().then_some(value));
    // NaN is not equal to itself.
    assert!(
        format!("{ours:?}") == format!("{theirs:?}"),
        "{ours:?} is not {theirs:?}"
    );
    let Ok(fd) = memory::memfd("fuzzing", bytes.len().max(1)) else {
        return;
    };
    let Ok(mapping) = Mapping::whole(&fd, bytes.len().max(1)) else {
        return;
    };
    mapping.write(0, bytes);
    let shared = codec::decode_shared::<T>(mapping.shared(0, bytes.len())).ok();
    assert!(
        format!("{ours:?}") == format!("{shared:?}"),
        "{ours:?} is not {shared:?}"
    );
}

/// A type that asks for a buffer of its own.
mod serde_bytes_like {
    use serde::de::{Deserialize, Deserializer, Error, Visitor};

    #[derive(Debug, PartialEq)]
    pub(super) struct Bytes(Vec<u8>);

    impl<'de> Deserialize<'de> for Bytes {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_byte_buf(Buffer)
        }
    }

    struct Buffer;

    impl Visitor<'_> for Buffer {
        type Value = Bytes;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
            Ok(Bytes(bytes.to_vec()))
        }

        fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
            Ok(Bytes(bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    proptest::proptest! {
        #[test]
        fn any_replies_are_survived(bytes: Vec<u8>) {
            super::replies(&bytes);
        }

        #[test]
        fn any_messages_are_survived(bytes: Vec<u8>) {
            super::control(&bytes);
        }

        #[test]
        fn any_bytes_are_decoded_as_postcard_decodes_them(bytes: Vec<u8>) {
            super::values(&bytes);
        }
    }
}
