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
    if let Some(slot) = invited(EntryPoint::Init) {
        EntryPoint::Init.open();
        child::serve(slot);
    }
    if procfs::thread_count().is_ok_and(|threads| threads == 1) {
        EntryPoint::Init.open();
    } else {
        EntryPoint::missed();
    }
}

/// Says that this process is a test, whose children come in by the constructor.
pub fn enter_from_test() {
    EntryPoint::Constructor.open();
}

hook::before_main!(adopt_before_main);

/// The constructor: takes over a child of a test, and lets everything else pass.
fn adopt_before_main() {
    if let Some(slot) = invited(EntryPoint::Constructor) {
        EntryPoint::Constructor.open();
        signal::ignore_sigpipe();
        child::serve(slot);
    }
}

fn invited(entrance: EntryPoint) -> Option<u32> {
    entrance.invited(std::env::var_os(hook::CHILD)?.to_str()?)
}
