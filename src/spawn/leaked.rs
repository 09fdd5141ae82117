//! Children that were started and lost.
//!
//! A start can fail after the child exists: its pidfd finds no place in the descriptor table. Nobody has its
//! number then, and nobody would ever reap it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use crate::sys::signal;

/// The children of this thread at one moment (`proc_tid_children(5)`). Other threads start theirs meanwhile;
/// those are not among them.
#[derive(Debug)]
pub(super) struct LeakedChildren {
    /// Held open, because it is needed when no descriptor is left. `None` where the kernel does not tell.
    children: Option<File>,
    known: HashSet<u32>,
}

impl LeakedChildren {
    /// Looks at what children there are before one is started, by this thread.
    pub(super) fn before_start() -> Self {
        let mut strays = Self {
            children: File::open("/proc/thread-self/children").ok(),
            known: HashSet::new(),
        };
        strays.known = strays.now().unwrap_or_default();
        strays
    }

    /// The start has failed: kills and reaps the child, if there is one. Blocks until it is gone.
    pub(super) fn reap(mut self) {
        for pid in self.now().unwrap_or_default().difference(&self.known) {
            // It may not have reached its own group yet.
            let _ = signal::send_to_group(*pid, libc::SIGKILL);
            let _ = signal::send(*pid, libc::SIGKILL);
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
