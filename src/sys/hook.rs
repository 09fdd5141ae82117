//! The constructor, which runs before `main`, and the variable that makes a process a child.
//!
//! The constructor (`.init_array`, System V ABI "Initialization and Termination Functions") lets children of a test
//! harness enter, whose `main` the user cannot change. It does nothing in a process that is not a child of this crate,
//! and nothing in a program that has loaded this crate with a shared library.
//!
//! # Safety
//!
//! Constructors run single-threaded. This one runs Rust's standard library before `main`, which works where `std` sets
//! up its arguments by constructors itself (Linux). An unwinding panic aborts at the `extern "C"` boundary.
#![allow(unsafe_code)]

/// The environment variable that tells a process that it is a child, and its entry point.
pub(crate) const CHILD: &str = "PROCESSION_CHILD";

/// Calls `$function` before `main`, after the other constructors as far as the linker's order goes.
macro_rules! before_main {
    ($function:path) => {
        #[used]
        #[allow(unsafe_code)]
        #[unsafe(link_section = ".init_array")]
        static BEFORE_MAIN: extern "C" fn() = {
            extern "C" fn call() {
                $function();
            }
            call
        };
    };
}
pub(crate) use before_main;

/// The value of [`CHILD`]. Empty if it is not set.
pub(crate) fn child_value() -> String {
    std::env::var(CHILD).unwrap_or_default()
}

/// Removes [`CHILD`] from the environment, so that programs started from here do not see it.
pub(crate) fn forget() {
    // SAFETY: called at the start of a child, while it has one thread.
    unsafe { std::env::remove_var(CHILD) }
}
