//! The children this process has now.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

static CHILDREN: Mutex<BTreeMap<u32, ChildInfo>> = Mutex::new(BTreeMap::new());

/// A child process of this one, started by this crate and not yet reaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildInfo {
    pid: u32,
    name: Option<String>,
}

impl ChildInfo {
    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The name it was given; a pool's worker has its pool's name and its number.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

/// The children of this process that this crate started and that have not been reaped, by number.
pub fn active_children() -> Vec<ChildInfo> {
    lock().values().cloned().collect()
}

pub(super) fn add(pid: u32, name: Option<String>) {
    lock().insert(pid, ChildInfo { pid, name });
}

pub(super) fn remove(pid: u32) {
    lock().remove(&pid);
}

fn lock() -> std::sync::MutexGuard<'static, BTreeMap<u32, ChildInfo>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}
