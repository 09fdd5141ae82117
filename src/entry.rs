//! How a process finds out what it is: the application, or a child on its way in.

use crate::sys::{child, hook};
use crate::worker::{self, Entrance};

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
    if let Some(slot) = invited(Entrance::Init) {
        Entrance::Init.open();
        worker::serve(slot);
    }
    if child::threads().is_ok_and(|threads| threads == 1) {
        Entrance::Init.open();
    } else {
        Entrance::missed();
    }
}

/// Says that this process is a test, whose children come in by the constructor.
pub fn enter_from_test() {
    Entrance::Constructor.open();
}

hook::before_main!(adopt_before_main);

/// The constructor: takes over a child of a test, and lets everything else pass.
fn adopt_before_main() {
    if let Some(slot) = invited(Entrance::Constructor) {
        Entrance::Constructor.open();
        child::ignore_broken_pipes();
        worker::serve(slot);
    }
}

fn invited(entrance: Entrance) -> Option<u32> {
    entrance.invited(std::env::var_os(hook::CHILD)?.to_str()?)
}
