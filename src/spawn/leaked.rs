//! Children that a failed start has leaked.
//!
//! A start can fail after the child exists: its pidfd finds no place in the descriptor table. The library that started
//! it then drops its pid, and without this it would never be reaped.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use crate::sys::signal;

/// The children of this thread at one moment (`proc_tid_children(5)`). Children that other threads start meanwhile are
/// not among them.
#[derive(Debug)]
pub(super) struct LeakedChildren {
    /// Opened before the start, because it is read when no descriptor is free. `None` if the kernel has no such file.
    children: Option<File>,
    known: HashSet<u32>,
}

impl LeakedChildren {
    /// Records the children of this thread, before it starts another.
    pub(super) fn before_start() -> Self {
        let mut leaked = Self {
            children: File::open("/proc/thread-self/children").ok(),
            known: HashSet::new(),
        };
        leaked.known = leaked.now().unwrap_or_default();
        leaked
    }

    /// Kills and reaps the child of the start, which has failed, if there is one. Blocks until the child is gone.
    pub(super) fn reap(mut self) {
        for pid in self.now().unwrap_or_default().difference(&self.known) {
            signal::kill_group(*pid);
            let _ = signal::reap(*pid);
        }
    }

    fn now(&mut self) -> io::Result<HashSet<u32>> {
        let mut text = String::new();
        if let Some(children) = &mut self.children {
            children.seek(SeekFrom::Start(0))?;
            children.read_to_string(&mut text)?;
        }
        Ok(text.split(' ').filter_map(|pid| pid.parse().ok()).collect())
    }
}
