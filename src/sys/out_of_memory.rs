//! Whether a thread aborts because an allocation has failed.
//!
//! The kernel does not tell a process that it ends for want of memory: the allocator returns null with `ENOMEM`, and
//! its caller aborts. So the handler of `SIGABRT` looks for `ENOMEM` in `errno`. It also looks for `handle_alloc_error`
//! among the callers, because that function may have printed a backtrace and so changed `errno`.
//!
//! # Safety
//!
//! `errno` is the calling thread's own.
#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::exit_cause::ExitCause;
use super::{exit_cause, unwind};

/// Whether this process has a memory limit.
static IS_LIMITED: AtomicBool = AtomicBool::new(false);

/// Makes an abort of this process for want of memory leave that as its cause, in the handler of crashes.
pub(super) fn report() {
    IS_LIMITED.store(true, Ordering::Relaxed);
}

/// Makes an abort of this thread later on say nothing about allocations that have failed before. Successful calls leave
/// `errno` as it was (`errno(3)`).
#[inline]
pub(crate) fn forget_failed_allocations() {
    // SAFETY: takes nothing.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the address of this thread's own `errno`.
    unsafe { errno.write(0) };
}

/// This thread aborts with this `errno`. Called in the handler.
pub(super) fn on_abort(errno: Option<i32>) {
    if !IS_LIMITED.load(Ordering::Relaxed) {
        return;
    }
    if errno == Some(libc::ENOMEM) || is_allocation_error() {
        exit_cause::leave(ExitCause::OutOfMemory);
    }
}

/// The `errno` of this thread.
pub(super) fn errno() -> Option<i32> {
    io::Error::last_os_error().raw_os_error()
}

/// Whether `handle_alloc_error` is among the callers of this function.
fn is_allocation_error() -> bool {
    let handler: fn(std::alloc::Layout) -> ! = std::alloc::handle_alloc_error;
    let mut found = false;
    unwind::walk(&mut |instruction| {
        found = unwind::function_at(instruction) == handler as usize;
        !found
    });
    found
}
