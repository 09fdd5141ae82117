//! A file in which a process records the messages it received, so that the record outlives the process.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

pub(crate) struct Log(File);

impl Log {
    pub(crate) fn create(path: &Path) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Self(file.unwrap())
    }

    pub(crate) fn record(&mut self, (sender, number): (u64, u64)) {
        let mut record = [0; 16];
        record[..8].copy_from_slice(&sender.to_ne_bytes());
        record[8..].copy_from_slice(&number.to_ne_bytes());
        self.0.write_all(&record).unwrap();
    }

    /// The senders and numbers in the log at `path`, in the order in which they were received.
    pub(crate) fn read(path: &Path) -> Vec<(u64, u64)> {
        let bytes = std::fs::read(path).unwrap_or_default();
        let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap());
        let records = bytes.chunks_exact(16);
        records
            .map(|record| (number(&record[..8]), number(&record[8..])))
            .collect()
    }
}
