//! A process environment as bytes: `K=V`, each followed by a zero byte, sorted by name.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A longer environment goes through shared memory, in bytes: a message must have room for the rest of a fork request.
pub(crate) const LONGEST_INLINE_ENV: usize = 12 * 1024;

/// Usual environments fit without growing, in bytes.
const USUAL_ENV_BYTES: usize = 4096;

/// An environment in one piece.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EnvBlock(Vec<u8>);

impl EnvBlock {
    /// The environment of this process.
    pub(crate) fn of_this_process() -> Self {
        Self::new(std::env::vars_os().collect())
    }

    /// Sorts `variables`; of several with one name the last counts.
    pub(crate) fn new(mut variables: Vec<(OsString, OsString)>) -> Self {
        variables.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut block = Vec::with_capacity(USUAL_ENV_BYTES);
        for (index, (key, value)) in variables.iter().enumerate() {
            if variables
                .get(index + 1)
                .is_some_and(|(next, _)| next == key)
            {
                continue;
            }
            block.extend_from_slice(key.as_bytes());
            block.push(b'=');
            block.extend_from_slice(value.as_bytes());
            block.push(0);
        }
        Self(block)
    }

    /// Takes bytes that [`EnvBlock::as_bytes`] gave, in whatever process.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is short enough for a message.
    pub(crate) fn fits_message(&self) -> bool {
        self.0.len() <= LONGEST_INLINE_ENV
    }

    /// The variables. An entry without a name or without `=` is skipped.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        let entries = self.0.split(|byte| *byte == 0).filter(|it| !it.is_empty());
        entries.filter_map(|entry| {
            // A name may begin with `=`, and contain it nowhere else.
            let at = 1 + entry[1..].iter().position(|byte| *byte == b'=')?;
            Some((
                OsStr::from_bytes(&entry[..at]),
                OsStr::from_bytes(&entry[at + 1..]),
            ))
        })
    }
}

// Serde takes a `Vec<u8>` for a sequence; this is one piece of bytes.
impl Serialize for EnvBlock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for EnvBlock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(|bytes| Self(bytes.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(variables: &[(&str, &str)]) -> EnvBlock {
        let owned = variables.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        EnvBlock::new(owned.collect())
    }

    #[test]
    fn block_is_sorted_and_the_last_of_one_name_counts() {
        let block = block(&[("B", "1"), ("A", "2"), ("B", "3")]);
        assert_eq!(block.as_bytes(), b"A=2\0B=3\0");
    }

    #[test]
    fn variables_are_those_of_the_block() {
        let block = block(&[("=C:", "x"), ("A", ""), ("B", "1=2")]);
        let read: Vec<_> = block.variables().collect();
        let expected = [("=C:", "x"), ("A", ""), ("B", "1=2")];
        assert_eq!(read, expected.map(|(k, v)| (OsStr::new(k), OsStr::new(v))));
    }

    #[test]
    fn malformed_entry_is_skipped() {
        let block = EnvBlock::from_bytes(b"A\0\0=\0B=1\0".to_vec());
        assert_eq!(
            block.variables().collect::<Vec<_>>(),
            [(OsStr::new("B"), OsStr::new("1"))]
        );
    }
}
