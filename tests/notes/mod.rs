//! Notes that processes leave for each other, in a directory of the test.
//!
//! A task writes a line when it has come to a point, and waits at a point until the test has written a
//! line. So the test decides the order of events, and no test has to sleep for long enough.

#![allow(dead_code, reason = "no test file needs all of it")]

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::deadline;

/// Ends a complete line. A writer that is killed stops at the end of a page of the file
/// (`generic_perform_write` in the kernel's `mm/filemap.c`), which may be in the middle of its line.
const COMPLETE: char = '\u{3}';

/// How long a task sleeps before it looks again for a note.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Owns the directory and removes it when it is dropped. Stays in the test.
#[derive(Debug)]
pub(crate) struct Board {
    notes: Notes,
}

/// Reads and writes the notes of one [`Board`]. Can be sent to other processes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Notes {
    directory: PathBuf,
}

impl Board {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("notes-{}-{number}", std::process::id());
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&directory).expect("a directory can be made");
        Self {
            notes: Notes { directory },
        }
    }

    /// The notes, for tasks.
    pub(crate) fn notes(&self) -> Notes {
        self.notes.clone()
    }

    /// Waits until there are `count` lines under `name`, and returns the lines.
    #[track_caller]
    pub(crate) fn lines(&self, name: &str, count: usize) -> impl Future<Output = Vec<String>> {
        let notes = self.notes();
        let name = name.to_owned();
        let wait = deadline::until({
            let (notes, name) = (notes.clone(), name.clone());
            move || notes.read(&name).len() >= count
        });
        async move {
            wait.await;
            notes.read(&name)
        }
    }
}

impl std::ops::Deref for Board {
    type Target = Notes;

    fn deref(&self) -> &Notes {
        &self.notes
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.notes.directory);
    }
}

impl Notes {
    /// Appends a line under `name`. Lines of different processes never mix (`write(2)`, `O_APPEND`), also
    /// when a writer is killed: each line starts with a line break of its own.
    pub(crate) fn write(&self, name: &str, line: impl ToString) {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path(name))
            .expect("a note can be opened");
        file.write_all(format!("\n{}{COMPLETE}", line.to_string()).as_bytes())
            .expect("a note can be written");
    }

    /// The complete lines under `name`, in order.
    pub(crate) fn read(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        let complete = text.split('\n').filter_map(|it| it.strip_suffix(COMPLETE));
        complete.map(str::to_owned).collect()
    }

    /// Whether there is a line under `name`, complete or not.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Blocks until there is a line under `name`.
    pub(crate) fn wait(&self, name: &str) {
        let end = Instant::now() + 2 * deadline::LIMIT;
        while !self.has(name) {
            assert!(Instant::now() < end, "there is no note `{name}`");
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Blocks until there are `lines` complete lines under `name`.
    pub(crate) fn wait_for(&self, name: &str, lines: usize) {
        let end = Instant::now() + deadline::LIMIT;
        while self.read(name).len() < lines {
            assert!(
                Instant::now() < end,
                "the note `{name}` has fewer than {lines} lines"
            );
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Writes the pid under `mine` and blocks until there is a line under `yours`.
    pub(crate) fn meet(&self, mine: &str, yours: &str) {
        self.write(mine, std::process::id());
        self.wait(yours);
    }

    /// The file of the notes under `name`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// A path for a file that no other test process uses.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let name = format!("{name}-{}", std::process::id());
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}
