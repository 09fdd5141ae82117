//! Descriptors: none is inherited, none is left, and having none left is an error that passes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    unsafe_code,
    reason = "standard streams are nobody's, so closing them is"
)]

use std::path::{Path, PathBuf};

#[path = "../deadline/mod.rs"]
mod deadline;
#[path = "../leftovers/mod.rs"]
mod leftovers;

mod census;
mod inherited;
mod shortage;
mod standard_streams;

/// What every descriptor of the calling process leads to, by number.
pub(crate) fn descriptors() -> Vec<(u32, PathBuf)> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, std::fs::read_link(entry.path()).ok()?))
        })
        .filter(|(_, target)| *target != Path::new(&format!("/proc/{}/fd", std::process::id())))
        .collect();
    found.sort();
    found
}
