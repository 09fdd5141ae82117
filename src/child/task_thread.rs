//! The thread that runs tasks.
//!
//! It is the main thread, which exists already. There are two exceptions, where it is another thread:
//! - `init` was called inside a runtime: no runtime can be entered on a thread that drives one.
//! - The process was forked from a process that has run a preload. The main thread's generators of random numbers
//!   (those of `rand` and `fastrand`, the keys of `HashMap`) are thread-locals, which the preload may have seeded. All
//!   forks would draw the same numbers from them.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::thread::JoinHandle;

use tokio::runtime::Handle;

use crate::sys::{crash_handler, parent_death};

/// The stack of a thread that runs tasks, in bytes: what a main thread has by default. Only touched pages take memory.
const STACK_BYTES: usize = 8 << 20;

/// Whether this process, or the process that it was forked from, has run a preload on the main thread.
static HAS_RUN_PRELOAD: AtomicBool = AtomicBool::new(false);

/// The main thread runs a preload: it runs no tasks, here and in the forks of this process.
pub(super) fn leave_main_to_preload() {
    HAS_RUN_PRELOAD.store(true, Ordering::Relaxed);
}

/// Whether the main thread can run tasks.
pub(super) fn is_main() -> bool {
    !HAS_RUN_PRELOAD.load(Ordering::Relaxed) && Handle::try_current().is_err()
}

/// Runs `tasks` on another thread.
pub(super) fn spawn<T: Send + 'static>(
    tasks: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let thread = thread::Builder::new().name("procession".to_owned());
    thread.stack_size(STACK_BYTES).spawn(|| {
        crash_handler::use_stack_of_tasks();
        tasks()
    })
}

/// Has the kernel end what a task may put in the place of this process, unless it is to outlive the parent. Called on
/// the thread that runs tasks.
pub(super) fn follow_parent(kills_group: bool) {
    if let Err(error) = parent_death::end_replacement(kills_group) {
        eprintln!(
            "procession: a program in the place of this process would not end with it: {error}"
        );
    }
}

/// Waits for ever: the process ends on another thread.
pub(super) fn park() -> ! {
    loop {
        thread::park();
    }
}
