//! The children that this process has now.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sys::process_mark::PerProcess;

static CHILDREN: PerProcess<Mutex<BTreeMap<u32, ChildInfo>>> =
    PerProcess::new(|| Mutex::new(BTreeMap::new()));

/// A child process that this crate started and that has not been reaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildInfo {
    pid: u32,
    name: Option<String>,
}

impl ChildInfo {
    /// The process ID.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The name that the process was given. A pool's worker is named after its pool and its number there.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

/// The child processes that this crate started and that have not been reaped, in the order of their process IDs.
///
/// The fork server and its spares are not among them.
pub fn active_children() -> Vec<ChildInfo> {
    lock().values().cloned().collect()
}

pub(super) fn add(pid: u32, name: Option<String>) {
    lock().insert(pid, ChildInfo { pid, name });
}

pub(super) fn remove(pid: u32) {
    lock().remove(&pid);
}

fn lock() -> MutexGuard<'static, BTreeMap<u32, ChildInfo>> {
    CHILDREN
        .get()
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}
