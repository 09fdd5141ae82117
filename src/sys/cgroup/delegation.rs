//! Where this process may make groups.
//!
//! Runs in the application, when a pool is built.

use std::fs;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::child_cgroup::ChildCgroup;
use super::group;
use super::group::Group;
use super::own_group;

/// The number of the last group that this process has made.
static LAST_NUMBER: AtomicU64 = AtomicU64::new(0);

/// So many numbers are tried for one group.
const MOST_TRIES: usize = 100;

/// The group of this process, below which it may make others.
#[derive(Debug, Clone)]
pub(crate) struct Delegation {
    directory: PathBuf,
}

impl Delegation {
    /// Finds the group of this process, and tries whether a child's group could be made there, entered and killed.
    /// Removes what applications that have ended have left there.
    ///
    /// # Errors
    ///
    /// It could not; which step fails, and why ([`io::ErrorKind::Unsupported`]).
    pub(crate) fn find() -> io::Result<Self> {
        let directory = own_group::directory()?;
        group::sweep(&directory);
        let found = Self { directory };
        let tried = found
            .create()
            .map_err(|error| refused("make a group", &error))?;
        let checked = found.check(tried.path());
        // Empty, so this waits for nothing.
        let ended = tried.end();
        checked?;
        ended.map_err(|error| refused("remove a group", &error))?;
        Ok(found)
    }

    /// Makes a group for a child.
    pub(crate) fn make(&self) -> io::Result<ChildCgroup> {
        self.create().map(ChildCgroup::new)
    }

    fn create(&self) -> io::Result<Group> {
        let mut tries = 0;
        loop {
            tries += 1;
            let number = LAST_NUMBER.fetch_add(1, Ordering::Relaxed);
            match Group::create(&self.directory, number) {
                // Left by an application with this pid, and not removed because a process in it cannot be killed. Or it
                // was removed before it was locked, by a fork server that this process has given up.
                Err(error) if is_taken(&error) && tries < MOST_TRIES => {}
                made => return made,
            }
        }
    }

    /// Checks what a process needs to move to the new group `made` (the kernel's "Control Group v2", "Delegation
    /// Containment"), and what is needed to kill there.
    fn check(&self, made: &Path) -> io::Result<()> {
        let kind = fs::read_to_string(made.join("cgroup.type"));
        match kind.as_deref().map(str::trim) {
            Ok("domain") => {}
            Ok(other) => {
                return Err(own_group::unsupported(format!(
                    "a new group is of the type `{other}`"
                )));
            }
            Err(error) => return Err(refused("read the type of a group", error)),
        }
        let writable = |path: PathBuf| OpenOptions::new().write(true).open(path).map(drop);
        writable(made.join("cgroup.kill"))
            .map_err(|error| refused("kill a group (Linux 5.14)", &error))?;
        writable(made.join("cgroup.procs"))
            .and_then(|()| writable(self.directory.join("cgroup.procs")))
            .map_err(|error| refused("move a process to another group", &error))
    }
}

/// Whether there is another group of this name, or this group was removed because it seemed to be left over.
fn is_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, NotFound, WouldBlock};
    matches!(error.kind(), AlreadyExists | NotFound | WouldBlock)
}

fn refused(what: &str, error: &io::Error) -> io::Error {
    own_group::unsupported(format!("this process may not {what}: {error}"))
}
