//! An encoded value and its descriptors, on the way through a process that does not know its type.
//!
//! Packed in one process, opened in another; every process between them passes it on as it is.

use std::fmt;
use std::os::fd::OwnedFd;

use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::Descriptor;
use crate::codec::attachments;
use crate::codec::codec;
use crate::codec::codec::EncodeFault;

/// See the module.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct EncodedValue {
    bytes: PackedBytes,
    fds: Vec<Descriptor<OwnedFd>>,
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
                fds: fds.into_iter().map(Descriptor).collect(),
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
        let fds: Vec<_> = self.fds.into_iter().map(Descriptor::into_inner).collect();
        attachments::with_received(&mut fds.into(), || codec::decode(&self.bytes.0))
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
}
