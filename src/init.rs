//! How a process finds out what it is: the application, or a child on its way in.

use crate::child;
use crate::sys::{hook, procfs, signal};
use crate::transfer::entry_point::EntryPoint;

/// Makes this program able to start children. The first line of `main`.
///
/// In the application it returns at once. In a child process it never returns: the child does what
/// it was started for and exits, so that nothing after this line ever runs in a child.
/// [`#[procession::main]`](macro@crate::main) writes this line.
///
/// If other threads are already running when it is called, children could not take the same way in;
/// then, and if it was never called, the first spawn fails with an error that says so.
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
    if procfs::thread_count().is_ok_and(|threads| threads == 1) {
        EntryPoint::Init.record();
    } else {
        EntryPoint::record_missed();
    }
}

/// Says that this process is a test, whose children come in by the constructor.
pub fn enter_from_test() {
    EntryPoint::Constructor.record();
}

hook::before_main!(adopt_before_main);

/// The constructor: takes over a child of a test, and lets everything else pass.
fn adopt_before_main() {
    if let Some(slot) = slot_of_child(EntryPoint::Constructor) {
        EntryPoint::Constructor.record();
        signal::ignore_sigpipe();
        child::serve(slot);
    }
}

fn slot_of_child(entry_point: EntryPoint) -> Option<u32> {
    entry_point.slot_in(std::env::var_os(hook::CHILD)?.to_str()?)
}
