//! A process environment as bytes: `K=V`, each followed by a zero byte, sorted by name.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

/// A longer environment goes through shared memory, in bytes.
pub(crate) const LONGEST_ENVIRONMENT: usize = 12 * 1024;

/// The block of these variables, sorted, and each once: the last that is said of it.
pub(crate) fn to_block(mut variables: Vec<(OsString, OsString)>) -> Vec<u8> {
    variables.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut block = Vec::with_capacity(4096);
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
    block
}

/// The variables of a block. A name may begin with `=`, and only there.
pub(crate) fn parse(block: &[u8]) -> impl Iterator<Item = (&OsStr, &OsStr)> {
    let entries = block.split(|byte| *byte == 0).filter(|it| !it.is_empty());
    entries.filter_map(|entry| {
        let at = 1 + entry[1..].iter().position(|byte| *byte == b'=')?;
        Some((
            OsStr::from_bytes(&entry[..at]),
            OsStr::from_bytes(&entry[at + 1..]),
        ))
    })
}
