//! Hostile input, made here so that the example carries no file that a virus scanner removes.

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

/// An archive of `text`.
pub(crate) fn archive(text: &[u8]) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text)?;
    Ok(encoder.finish()?.into())
}

/// 16 GiB of zeros in less than 100 MB: members of a gzip file follow each other (RFC 1952, section 2.2).
pub(crate) fn bomb() -> io::Result<Bytes> {
    let member = archive(&vec![0; 16 << 20])?;
    Ok(member.repeat(1024).into())
}

/// A pattern that tries every way to divide the text into groups.
pub(crate) fn pattern() -> (String, String) {
    (r"^(?:(a+)+\1)+$".to_owned(), "a".repeat(64) + "!")
}

/// Lists in lists, ten million deep.
pub(crate) fn document() -> String {
    "[".repeat(10_000_000)
}
