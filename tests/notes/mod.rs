//! Notes that processes leave for each other in a directory of the test's own.
//!
//! A task says that it has come to a point by appending a line, and waits where it is told to until the
//! test says that it may go on. So a test decides what happens first, and nobody sleeps to be lucky.

#![allow(dead_code, reason = "no test file needs all of it")]

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::deadline;

/// Ends a line that was written whole: a writer that is killed stops at the end of a page of the file
/// (`generic_perform_write` in the kernel's `mm/filemap.c`), wherever that is in its line.
const WHOLE: char = '\u{3}';

/// Between two looks of a task at a note that is not there yet.
const LOOK: Duration = Duration::from_millis(1);

/// The directory; it goes with the value.
#[derive(Debug)]
pub(crate) struct Board {
    desk: Desk,
}

/// The way to the directory, which can be sent to other processes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Desk {
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
            desk: Desk { directory },
        }
    }

    /// The way there, for tasks.
    pub(crate) fn desk(&self) -> Desk {
        self.desk.clone()
    }

    /// Waits until there are so many lines under `name`.
    #[track_caller]
    pub(crate) fn lines(&self, name: &str, count: usize) -> impl Future<Output = Vec<String>> {
        let desk = self.desk();
        let name = name.to_owned();
        let wait = deadline::until({
            let (desk, name) = (desk.clone(), name.clone());
            move || desk.read(&name).len() >= count
        });
        async move {
            wait.await;
            desk.read(&name)
        }
    }
}

impl std::ops::Deref for Board {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        &self.desk
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.desk.directory);
    }
}

impl Desk {
    /// Adds a line under `name`. Lines of different processes never mix (`write(2)`, `O_APPEND`), also when one of them
    /// is killed: each begins a line of its own.
    pub(crate) fn write(&self, name: &str, line: impl ToString) {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path(name))
            .expect("a note can be opened");
        file.write_all(format!("\n{}{WHOLE}", line.to_string()).as_bytes())
            .expect("a note can be written");
    }

    /// The whole lines under `name`, in order.
    pub(crate) fn read(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        let whole = text.split('\n').filter_map(|it| it.strip_suffix(WHOLE));
        whole.map(str::to_owned).collect()
    }

    /// Whether there is anything under `name`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Blocks until there is something under `name`.
    pub(crate) fn wait(&self, name: &str) {
        let end = Instant::now() + 2 * deadline::LIMIT;
        while !self.has(name) {
            assert!(Instant::now() < end, "nobody wrote `{name}`");
            std::thread::sleep(LOOK);
        }
    }

    /// Blocks until there are so many lines under `name`.
    pub(crate) fn wait_for(&self, name: &str, lines: usize) {
        let end = Instant::now() + deadline::LIMIT;
        while self.read(name).len() < lines {
            assert!(
                Instant::now() < end,
                "not enough was written under `{name}`"
            );
            std::thread::sleep(LOOK);
        }
    }

    /// Says `mine` and blocks until there is something under `yours`.
    pub(crate) fn meet(&self, mine: &str, yours: &str) {
        self.write(mine, std::process::id());
        self.wait(yours);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// A path for a file of this process alone.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let name = format!("{name}-{}", std::process::id());
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}
