//! The error of a call that a full queue refuses.
//!
//! Lives in the application.

use std::fmt;

/// The pool has no room for another waiting task. See [`Pool::try_spawn`](crate::Pool::try_spawn).
///
/// It gives the arguments back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Full<A>(pub(in crate::pool) A);

impl<A> Full<A> {
    /// Returns the arguments of the call.
    pub fn into_inner(self) -> A {
        self.0
    }
}

impl<A> fmt::Debug for Full<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Full").finish_non_exhaustive()
    }
}

impl<A> fmt::Display for Full<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the queue of the pool is full: await `Pool::run` or `Pool::reserve` to wait for room",
        )
    }
}

impl<A> std::error::Error for Full<A> {}
