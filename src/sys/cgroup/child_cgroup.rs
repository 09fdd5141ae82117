//! The group of one child.
//!
//! [`ChildCgroup`] is the application's, which makes it before the child exists and ends it with the child. [`enter`]
//! runs in the child.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::group;
use super::group::Group;
use super::own_group;
use crate::sys::process_mark::ProcessMark;

/// A child's group. Dropping it kills all processes in it, and removes it on another thread.
#[derive(Debug)]
pub(crate) struct ChildCgroup {
    path: PathBuf,
    /// `None` once it has ended.
    group: Mutex<Option<Group>>,
    /// In a copy of the application it is the original's.
    mark: ProcessMark,
}

impl ChildCgroup {
    pub(super) fn new(group: Group) -> Self {
        Self {
            path: group.path().to_owned(),
            group: Mutex::new(Some(group)),
            mark: ProcessMark::here(),
        }
    }

    /// Where the child enters it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Kills all processes in it. False if there is none, because the child has not entered. May wait for changes of
    /// other groups.
    pub(crate) fn kill(&self) -> bool {
        let group = self.lock();
        let group = group.as_ref().filter(|_| self.mark.is_here());
        group.is_some_and(|it| it.has_processes() && it.kill().is_ok())
    }

    /// Kills all processes in it, waits for their ends, and removes it. Waits for a second at most; what remains then
    /// is removed later, see the module.
    pub(crate) fn end(&self) {
        let group = self.lock().take();
        if let Some(group) = group.filter(|_| self.mark.is_here()) {
            let _ = group.end();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Group>> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ChildCgroup {
    fn drop(&mut self) {
        let group = self.lock().take();
        if let Some(group) = group.filter(|_| self.mark.is_here()) {
            let ending = std::thread::Builder::new().name("procession-kill".to_owned());
            // Where no thread can be started, it is removed later, see the module.
            let _ = ending.spawn(move || group.end());
        }
    }
}

/// Moves this process, with all its threads, to the group at `path`.
pub(crate) fn enter(path: &Path) -> io::Result<()> {
    // Zero is the process that writes.
    fs::write(path.join("cgroup.procs"), "0")
}

/// The group around that of the worker that this process is, or is below of; `None` in no worker's group.
pub(crate) fn outer() -> Option<PathBuf> {
    let own = own_group::directory().ok()?;
    let is_child = |it: &Path| {
        let name = it.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| group::owner(name).is_some())
    };
    let outermost = own.ancestors().filter(|it| is_child(it)).last()?;
    outermost.parent().map(Path::to_owned)
}
