//! What runs before `main`.
//!
//! Two constructors (`.init_array`, System V ABI "Initialization and Termination Functions"): an
//! early one that closes what the parent or a library of its leaked into this child, before
//! anything here can have opened a descriptor of its own, and a late one for children of programs whose
//! `main` is not the user's to change (test harnesses). Both do nothing in a process that is not a
//! child of this crate.
//!
//! # Safety
//!
//! Constructors run single-threaded. The early one makes two system calls and reads the environment
//! through libc; it neither allocates nor unwinds. The late one runs Rust's standard library before
//! `main`, which works where `std` sets up its arguments by constructors itself (Linux), and never
//! unwinds past the `extern "C"` boundary: that would abort, which is what is wanted.
#![allow(unsafe_code)]

/// The environment variable that tells a process it is a child, and how it comes in.
pub(crate) const CHILD: &str = "PROCESSION_CHILD";

const CHILD_C: &std::ffi::CStr = c"PROCESSION_CHILD";

#[used]
#[unsafe(link_section = ".init_array.00100")]
static CLOSE_INHERITED: extern "C" fn() = close_inherited;

extern "C" fn close_inherited() {
    // SAFETY: single-threaded here, and the pointer is only compared with null.
    let child = unsafe { !libc::getenv(CHILD_C.as_ptr()).is_null() };
    if child {
        // SAFETY: nothing in this process has opened a descriptor beyond the standard three yet, so
        // whatever is open there was inherited by mistake and belongs to nobody here.
        unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    }
}

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

/// Removes [`CHILD`] from the environment, so that programs started from here do not see it.
pub(crate) fn forget() {
    // SAFETY: called first thing in a child, while it has one thread.
    unsafe { std::env::remove_var(CHILD) }
}
