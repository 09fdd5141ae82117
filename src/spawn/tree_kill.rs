//! Killing what a child has started, also what has left its group.
//!
//! The child is stopped at once. Its descendants are found and killed on a thread of their own, because the search
//! reads many files: a runtime thread must not wait for it. The child is killed last, because its end would give its
//! children another parent. A child with a control group of its own needs no search: the kernel kills all in the group
//! at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::sys::cgroup::ChildCgroup;
use crate::sys::process_tree::{ProcessTree, adopts_orphans, group_exists, reap_group};
use crate::sys::signal;

/// A stopped child, whose tree will be killed.
#[derive(Debug)]
pub(super) struct StoppedChild {
    tree: ProcessTree,
    group: Option<Arc<ChildCgroup>>,
}

impl StoppedChild {
    /// Stops the unreaped child `pid`, which may have a control group.
    pub(super) fn stop(pid: u32, group: Option<Arc<ChildCgroup>>) -> Self {
        let _ = signal::send(pid, libc::SIGSTOP);
        let tree = ProcessTree::new(pid);
        Self { tree, group }
    }

    /// Kills all below the child, then calls `kill_child`, both on another thread. Where that cannot be started, only
    /// calls `kill_child`.
    pub(super) fn kill_below_then(self, kill_child: impl FnOnce() + Send + 'static) {
        let Self { mut tree, group } = self;
        let kill_child = Arc::new(Mutex::new(Some(kill_child)));
        let theirs = Arc::clone(&kill_child);
        let killer = thread::Builder::new().name("procession-kill".to_owned());
        let started = killer.spawn(move || {
            // Without the child in it, the child is still starting.
            if !group.is_some_and(|it| it.kill()) {
                tree.kill_below();
            }
            call(&theirs);
            if adopts_orphans() {
                tree.reap();
            }
        });
        if started.is_err() {
            call(&kill_child);
        }
    }
}

/// Reaps, on another thread, the members of the killed group of the reaped child `pid` that become children of this
/// process.
pub(super) fn reap_left(pid: u32) {
    if adopts_orphans() && group_exists(pid) {
        let reaper = thread::Builder::new().name("procession-reap".to_owned());
        // Where no thread can be started, zombies stay until this process ends.
        let _ = reaper.spawn(move || reap_group(pid));
    }
}

fn call(once: &Mutex<Option<impl FnOnce()>>) {
    let f = once.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(f) = f {
        f();
    }
}
