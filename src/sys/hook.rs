//! Constructors, which run before `main`.
//!
//! There are two (`.init_array`, System V ABI "Initialization and Termination Functions"). The early constructor closes
//! the descriptors that the parent or its libraries leaked into this child, before code of this process can have opened
//! one. The late constructor lets children of a test harness enter, whose `main` the user cannot change. Both do nothing
//! in a process that is not a child of this crate.
//!
//! # Safety
//!
//! Constructors run single-threaded. The early constructor reads the environment through libc and makes one system
//! call; it neither allocates nor unwinds. The late constructor runs Rust's standard library before `main`, which works
//! where `std` sets up its arguments by constructors itself (Linux). An unwinding panic aborts at the `extern "C"`
//! boundary.
#![allow(unsafe_code)]

/// The environment variable that tells a process that it is a child, and its entry point.
pub(crate) const CHILD: &str = "PROCESSION_CHILD";

const CHILD_C: &std::ffi::CStr = c"PROCESSION_CHILD";

#[used]
#[unsafe(link_section = ".init_array.00100")]
static CLOSE_INHERITED: extern "C" fn() = close_inherited;

extern "C" fn close_inherited() {
    // SAFETY: single-threaded here, and the pointer is only compared with null.
    let child = unsafe { !libc::getenv(CHILD_C.as_ptr()).is_null() };
    if child {
        // SAFETY: no code of this process has opened a descriptor yet, so every open one beyond the standard three was
        // inherited by mistake and has no owner here.
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
    // SAFETY: called at the start of a child, while it has one thread.
    unsafe { std::env::remove_var(CHILD) }
}
