//! Walking the stack of the calling thread, also in the handler of a signal.
//!
//! The unwinder is that of panics. It allocates nothing. It takes no lock from glibc 2.35 on (`_dl_find_object`).
//! Before, it may wait for the loader's lock, if another thread is inside `dlopen` and waits for what the caller has
//! locked: then the process ends by its time limit, its abort or its parent.
//!
//! # Safety
//!
//! The unwinder calls the step with a frame that is valid during the call. The step gets the closure's address, and the
//! closure outlives the walk. A stack that was overwritten can make the unwinder fault: callers in a handler of a
//! signal expect that.
#![allow(unsafe_code)]

use std::ptr;

// Itanium C++ ABI: Exception Handling, and libgcc's additions.
unsafe extern "C" {
    fn _Unwind_Backtrace(step: UnwindStep, visit: *mut libc::c_void) -> libc::c_int;
    fn _Unwind_GetIPInfo(frame: *mut libc::c_void, before: *mut libc::c_int) -> usize;
    fn _Unwind_FindEnclosingFunction(place: *mut libc::c_void) -> *mut libc::c_void;
}

type UnwindStep = extern "C" fn(frame: *mut libc::c_void, visit: *mut libc::c_void) -> libc::c_int;

/// Is called with the address of an instruction in each frame: of the call, or of the instruction that a signal has
/// interrupted. The walk ends when it returns false.
type Visit<'a> = &'a mut dyn FnMut(usize) -> bool;

/// Walks from the caller's frame up.
pub(super) fn walk(mut visit: Visit<'_>) {
    // SAFETY: the step gets a frame and the address of `visit`; both live as long as the call.
    unsafe { _Unwind_Backtrace(step, (&raw mut visit).cast()) };
}

extern "C" fn step(frame: *mut libc::c_void, visit: *mut libc::c_void) -> libc::c_int {
    // `_URC_NO_REASON` and `_URC_END_OF_STACK` of the ABI.
    const NEXT_FRAME: libc::c_int = 0;
    const STOP: libc::c_int = 5;
    let mut before = 0;
    // SAFETY: a frame that the unwinder has just given.
    let place = unsafe { _Unwind_GetIPInfo(frame, &raw mut before) };
    // The call instruction lies before the return address.
    let instruction = match before {
        0 => place.saturating_sub(1),
        _ => place,
    };
    // SAFETY: the address of `visit` in `walk`.
    let visit = unsafe { &mut *visit.cast::<Visit<'_>>() };
    match visit(instruction) {
        true => NEXT_FRAME,
        false => STOP,
    }
}

/// The address of the function that has this instruction; 0 if it is unknown.
pub(super) fn function_at(instruction: usize) -> usize {
    // SAFETY: looks an address up in tables; any address is allowed.
    unsafe { _Unwind_FindEnclosingFunction(ptr::without_provenance_mut(instruction)) }.addr()
}
