//! The thread that runs tasks.
//!
//! It is the main thread, which exists already. Where `init` was called inside a runtime it is another: no runtime can be
//! entered on a thread that drives one.

use std::io;
use std::thread;
use std::thread::JoinHandle;

use tokio::runtime::Handle;

use crate::sys::parent_death;

/// The stack of a thread that runs tasks, in bytes: what a main thread has by default. Only touched pages take memory.
const STACK_BYTES: usize = 8 << 20;

/// Whether the main thread can run tasks.
pub(super) fn is_main() -> bool {
    Handle::try_current().is_err()
}

/// Runs `tasks` on another thread.
pub(super) fn spawn<T: Send + 'static>(
    tasks: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let thread = thread::Builder::new().name("procession".to_owned());
    thread.stack_size(STACK_BYTES).spawn(tasks)
}

/// Has the kernel end what a task may put in the place of this process, unless it is to outlive the parent. Called on the
/// thread that runs tasks.
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
