//! What a worker does with input that it was sent. None of it is careful.

use std::io::Read as _;

use bytes::Bytes;
use fancy_regex::RegexBuilder;
use flate2::read::MultiGzDecoder;

/// How many bytes an archive unpacks to.
#[allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]
pub(crate) fn unpack(archive: Bytes) -> Result<usize, String> {
    let mut decoder = MultiGzDecoder::new(&archive[..]);
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match decoder.read(&mut piece) {
            Ok(0) => return Ok(all.len()),
            Ok(len) => all.extend_from_slice(&piece[..len]),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Whether a pattern, which may refer back to its groups, matches a text.
#[allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]
pub(crate) fn matches(pattern: String, text: String) -> Result<bool, String> {
    let regex = RegexBuilder::new(&pattern)
        .backtrack_limit(usize::MAX)
        .build()
        .map_err(|error| error.to_string())?;
    regex.is_match(&text).map_err(|error| error.to_string())
}

/// How deep the lists of a document are nested.
#[allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]
pub(crate) fn depth(document: String) -> usize {
    list(&mut document.bytes())
}

/// Reads up to the end of a list, as recursive-descent parsers do.
fn list(bytes: &mut std::str::Bytes<'_>) -> usize {
    let mut deepest = 0;
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' => deepest = deepest.max(1 + list(bytes)),
            b']' => break,
            _ => {}
        }
    }
    deepest
}
