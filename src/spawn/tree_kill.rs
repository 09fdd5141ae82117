//! Killing what a child has started, also what has left its group.
//!
//! The child is stopped at once. Its descendants are found and killed on a thread of their own, because the search
//! reads many files: a runtime thread must not wait for it. The child is killed last, because its end would give its
//! children another parent.
//!
//! A child with a control group of its own needs no search, and no stop: the kernel kills all in the group at once, whose
//! child they are. A child that is starting is not stopped, because nothing would continue it if this process died before
//! it killed the child.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::sys::cgroup::ChildCgroup;
use crate::sys::process_tree::{ProcessTree, adopts_orphans, group_exists, reap_group};
use crate::sys::signal;

/// A stopped child, whose tree will be killed.
#[derive(Debug)]
pub(super) struct StoppedChild(ProcessTree);

impl StoppedChild {
    /// Stops the unreaped child `pid`.
    pub(super) fn stop(pid: u32) -> Self {
        let _ = signal::send(pid, libc::SIGSTOP);
        Self(ProcessTree::new(pid))
    }

    /// Kills all below the child, then calls `kill_child`, both on another thread. Where that cannot be started, only
    /// calls `kill_child`.
    pub(super) fn kill_below_then(self, kill_child: impl FnOnce() + Send + 'static) {
        let Self(mut tree) = self;
        let kill_child = Arc::new(Mutex::new(Some(kill_child)));
        let theirs = Arc::clone(&kill_child);
        let killer = thread::Builder::new().name("procession-kill".to_owned());
        let started = killer.spawn(move || {
            tree.kill_below();
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

/// Kills all in a control group, on another thread: the kernel may let it wait for changes of other groups.
pub(super) fn kill_group_members(group: Arc<ChildCgroup>) {
    let killer = thread::Builder::new().name("procession-kill".to_owned());
    // Where no thread can be started, they are killed when the child was reaped.
    let _ = killer.spawn(move || group.kill());
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
