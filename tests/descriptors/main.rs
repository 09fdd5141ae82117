//! Descriptors: children inherit none, none is left open, and a shortage of them is an error which ends with it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

#[path = "../asleep/mod.rs"]
mod asleep;
#[path = "../deadline/mod.rs"]
mod deadline;
#[path = "../leftovers/mod.rs"]
mod leftovers;

mod census;
mod closed;
mod inherited;
mod many;
mod shortage;
mod standard_streams;

/// The descriptors of the calling process by number, with their targets.
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
