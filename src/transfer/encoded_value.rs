//! An encoded value and its descriptors, on the way through a process that does not know its type.
//!
//! Packed in one process, opened in another; every process between them passes it on as it is.

use std::fmt;
use std::os::fd::OwnedFd;

use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

use crate::codec::Descriptor;
use crate::codec::attachments;
use crate::codec::codec;
use crate::codec::codec::EncodeFault;
use crate::codec::error::{forget_fault, record_fault};

/// The longest value that is in every message itself, in bytes.
const LONGEST_IN_MESSAGE: usize = 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct EncodedValue {
    bytes: PackedBytes,
    /// Or why one of them did not arrive. That is no error of the message, which would not say whose value it was.
    fds: Result<Vec<Descriptor<OwnedFd>>, String>,
}

impl EncodedValue {
    /// Packs a value.
    ///
    /// # Errors
    ///
    /// Why it cannot be encoded.
    pub(crate) fn pack<T: Serialize>(value: &T) -> Result<Self, String> {
        let mut bytes = Vec::new();
        let mut fds = Vec::new();
        let encoded =
            attachments::collect_lent(&mut fds, || codec::encode_to_vec(value, &mut bytes));
        match encoded {
            Ok(()) => Ok(Self {
                bytes: PackedBytes(bytes),
                fds: Ok(fds.into_iter().map(Descriptor).collect()),
            }),
            Err(EncodeFault::Refused(why)) => Err(why),
            Err(EncodeFault::Full) => Err("it is too long".to_owned()),
        }
    }

    /// Decodes the value.
    ///
    /// # Errors
    ///
    /// Why it cannot be decoded.
    pub(crate) fn open<T: DeserializeOwned>(self) -> Result<T, String> {
        let fds: Vec<_> = self.fds?.into_iter().map(Descriptor::into_inner).collect();
        attachments::with_received(&mut fds.into(), || codec::decode(&self.bytes.0))
    }
}

impl EncodedValue {
    /// Whether a message with it may be in shared memory of its own. That may not arrive, and then its receiver does
    /// not know what was in it.
    pub(crate) fn is_long(&self) -> bool {
        self.bytes.0.len() > LONGEST_IN_MESSAGE
    }

    /// Why it cannot be opened or passed on, if a descriptor of it did not arrive.
    pub(crate) fn fault(&self) -> Option<&str> {
        self.fds.as_ref().err().map(String::as_str)
    }
}

impl Default for EncodedValue {
    fn default() -> Self {
        Self {
            bytes: PackedBytes::default(),
            fds: Ok(Vec::new()),
        }
    }
}

impl Serialize for EncodedValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.fds {
            Ok(fds) => (&self.bytes, fds).serialize(serializer),
            Err(why) => {
                let refused: Result<S::Ok, _> = record_fault(Err(why.clone()));
                refused.map_err(ser::Error::custom)
            }
        }
    }
}

impl<'de> Deserialize<'de> for EncodedValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (bytes, places) = <(PackedBytes, Vec<u32>)>::deserialize(deserializer)?;
        let taken = places.into_iter().map(attachments::take);
        let fds: Result<Vec<_>, _> = taken.map(|fd| fd.map(Descriptor)).collect();
        if fds.is_err() {
            // The fault is this value's, and not the message's.
            forget_fault();
        }
        Ok(Self { bytes, fds })
    }
}

/// Bytes that are encoded as bytes, and not one by one.
#[derive(Default)]
struct PackedBytes(Vec<u8>);

impl Serialize for PackedBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for PackedBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BytesVisitor)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = PackedBytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<PackedBytes, E> {
        Ok(PackedBytes(bytes.to_vec()))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<PackedBytes, E> {
        Ok(PackedBytes(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<PackedBytes, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = seq.next_element()? {
            bytes.push(byte);
        }
        Ok(PackedBytes(bytes))
    }
}

impl fmt::Debug for PackedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opened_value_has_the_value_and_its_descriptors() {
        let file = Descriptor(std::fs::File::open("/dev/null").unwrap());
        let encoded = EncodedValue::pack(&("text".to_owned(), file)).unwrap();
        let (text, _): (String, Descriptor<std::fs::File>) = encoded.open().unwrap();
        assert_eq!(text, "text");
        let encoded = EncodedValue::pack(&7_u64).unwrap();
        assert!(encoded.open::<(u64, u64)>().is_err());
    }
    #[test]
    fn value_whose_descriptor_is_missing_spoils_nothing_behind_it() {
        let file = Descriptor(std::fs::File::open("/dev/null").unwrap());
        let encoded = EncodedValue::pack(&file).unwrap();
        let (mut bytes, mut fds) = (Vec::new(), Vec::new());
        attachments::collect_lent(&mut fds, || {
            codec::encode_to_vec(&(1_u32, encoded, 2_u32), &mut bytes)
        })
        .unwrap();
        let none = &mut Vec::new().into();
        let arrived = attachments::with_received(none, || codec::decode(&bytes));
        let (before, value, after): (u32, EncodedValue, u32) = arrived.unwrap();
        assert_eq!((before, after), (1, 2));
        assert!(value.fault().unwrap().contains("did not arrive"));
        assert!(
            EncodedValue::pack(&value)
                .unwrap_err()
                .contains("did not arrive")
        );
        assert!(value.open::<Descriptor<std::fs::File>>().is_err());
    }
}
