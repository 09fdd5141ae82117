//! The entry of every process: it returns in the application and serves a child.
//!
//! Runs in the parent and in every child, in `init()` or, for children of tests, in a constructor before `main`. Must
//! stay true: a child that enters here never returns to the program.

use crate::child;
use crate::sys::{hook, procfs, program, signal, stdio};
use crate::transfer::entry_point::EntryPoint;

/// Enables this program to start children. Must be the first line of `main`.
///
/// In the application it returns at once. In a child process it does the child's work and exits, so no code after
/// this line runs in a child. [`#[procession::main]`](macro@crate::main) writes this line.
///
/// If it was not called, or was called while other threads were running, the first spawn fails with
/// [`ErrorKind::Spawn`](crate::ErrorKind::Spawn) and an error that says what to write; building a pool fails likewise.
///
/// A program whose file gives it rights (set-user-ID, set-group-ID, file capabilities) is never taken for a child.
/// Executed children and the fork server have the user and the groups of the application, without the capabilities that
/// the file gives, and cannot gain rights by executing such files (`no_new_privs`).
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
    let child = slot_of_child(EntryPoint::Constructor);
    if let Some(slot) = child.filter(|_| program::contains_this_crate()) {
        EntryPoint::Constructor.record();
        signal::ignore_sigpipe();
        child::serve(slot);
    }
}

/// The slot of the control socket, if this process is a child that enters here.
///
/// A process that has more rights than its caller is the caller's child only if the caller had these rights, too: the
/// variable would let every user call the program's functions.
fn slot_of_child(entry_point: EntryPoint) -> Option<u32> {
    let slot = entry_point.slot_in(&hook::child_value())?;
    let is_ours = || program::shares_rights_with_peer(stdio::standard(slot));
    (!program::has_gained_rights() || is_ours()).then_some(slot)
}
