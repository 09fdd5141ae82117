//! The entry of every process: it returns in the application and serves a child.
//!
//! Runs in the parent and in every child, in `init()` or, for children of tests, in a constructor before `main`. Must
//! stay true: a child that enters here never returns to the program.

use crate::child;
use crate::sys::{hook, procfs, signal};
use crate::transfer::entry_point::EntryPoint;

/// Enables this program to start children. Must be the first line of `main`.
///
/// In the application it returns at once. In a child process it does the child's work and exits, so no code after
/// this line runs in a child. [`#[procession::main]`](macro@crate::main) writes this line.
///
/// If it was not called, or was called while other threads were running, the first spawn fails with
/// [`ErrorKind::Spawn`](crate::ErrorKind::Spawn) and an error that says what to write; building a pool fails likewise.
///
/// ```no_run
/// fn main() {
///     procession::init();
///     // the application
/// }
/// ```
#[doc(alias = "freeze_support")]
pub fn init() {
    if let Some(slot) = slot_of_child(EntryPoint::Init) {
        EntryPoint::Init.record();
        child::serve(slot);
    }
    match procfs::thread_count() {
        Ok(1) => EntryPoint::Init.record(),
        Ok(_) => EntryPoint::record_missed(),
        Err(_) => EntryPoint::record_without_proc(),
    }
}

/// Records that this process is a test: its children enter by the constructor.
pub fn enter_from_test() {
    EntryPoint::Constructor.record();
}

hook::before_main!(serve_before_main);

/// The constructor: serves a child of a test, and returns in every other process.
fn serve_before_main() {
    if let Some(slot) = slot_of_child(EntryPoint::Constructor) {
        EntryPoint::Constructor.record();
        signal::ignore_sigpipe();
        child::serve(slot);
    }
}

/// The slot of the control socket, if this process is a child that enters here.
fn slot_of_child(entry_point: EntryPoint) -> Option<u32> {
    entry_point.slot_in(std::env::var_os(hook::CHILD)?.to_str()?)
}
