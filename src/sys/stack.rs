//! The stack of the calling thread: how far it may grow.
//!
//! # Safety
//!
//! The calls read or store attributes of the calling thread in structures of the caller's.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr::null_mut;

/// The part of a stack that recursion must leave free: one over this number …
const RESERVED_PART: usize = 4;

/// … and at most this many bytes: more than the frames of one level and of its error take.
const MOST_RESERVED: usize = 256 << 10;

/// The bytes that recursion may use below its start if the kernel does not tell where the stack ends.
const UNKNOWN_STACK: usize = 128 << 10;

/// A limit that every address exceeds downwards, until the [`limit`] is looked up.
pub(crate) const UNKNOWN_LIMIT: usize = usize::MAX;

thread_local! {
    /// The limit of this thread's stack; 0 is not known yet.
    static LIMIT: Cell<usize> = const { Cell::new(0) };
}

/// The lowest address that recursion on this thread may reach.
#[inline]
pub(crate) fn limit() -> usize {
    match LIMIT.get() {
        0 => find_limit(),
        limit => limit,
    }
}

/// An address in the frame of the caller.
#[inline(always)]
pub(crate) fn position() -> usize {
    let here = 0_u8;
    (&raw const here).addr()
}

#[cold]
fn find_limit() -> usize {
    let limit = match bounds() {
        Some((lowest, size)) => lowest + (size / RESERVED_PART).min(MOST_RESERVED),
        None => position().saturating_sub(UNKNOWN_STACK),
    };
    LIMIT.set(limit);
    limit
}

/// The lowest address of this thread's stack above its guard, and its size (`pthread_getattr_np(3)`).
fn bounds() -> Option<(usize, usize)> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: takes and returns a number.
    let own = unsafe { libc::pthread_self() };
    // SAFETY: initialises the attributes, if it succeeds.
    if unsafe { libc::pthread_getattr_np(own, attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    let (mut lowest, mut size, mut guard) = (null_mut(), 0, 0);
    // SAFETY: the attributes are initialised.
    let stack =
        unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut lowest, &raw mut size) };
    // SAFETY: likewise.
    let guarded = unsafe { libc::pthread_attr_getguardsize(attributes.as_ptr(), &raw mut guard) };
    // SAFETY: likewise; they are not used afterwards.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    // The main thread's stack may be said to be unlimited: its end is not where it could grow to.
    let plausible = (stack, guarded) == (0, 0) && size > guard && size < usize::MAX / 2;
    plausible.then(|| (lowest.addr() + guard, size - guard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_lies_in_the_stack_below_the_caller() {
        for size in [64 << 10, 2 << 20, 16 << 20] {
            let thread = std::thread::Builder::new().stack_size(size);
            let left = thread
                .spawn(|| position() - limit())
                .unwrap()
                .join()
                .unwrap();
            assert!(
                left > size / 4 && left < size + (64 << 10),
                "{left} of {size}"
            );
        }
    }
}
