//! Why a child ends without an outcome, in a word that its parent reads when the child has ended.
//!
//! Runs in children, on any thread and in the handler of a signal. Here is also what a child needs to find out that it has
//! lost its parent: the number of the descriptor that connects them.
//!
//! # Safety
//!
//! The word is memory that is never unmapped.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd as _};
use std::ptr::{self, null_mut};
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};

use super::{mark, process_tree, signal};

/// Why a child ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitCause {
    /// An allocation has failed.
    OutOfMemory,
    /// The descriptors that connect it with its parent were closed.
    Disconnected,
    /// The thread that runs its tasks has ended.
    ThreadEnded,
    /// It has replaced its program.
    Replaced,
}

impl ExitCause {
    /// The cause that a child has left as `bits`.
    pub(crate) fn from_bits(bits: u32) -> Option<Self> {
        [Self::OutOfMemory, Self::Disconnected, Self::ThreadEnded]
            .into_iter()
            .find(|it| it.to_bits() == bits)
    }

    fn to_bits(self) -> u32 {
        match self {
            Self::OutOfMemory => 1,
            Self::Disconnected => 2,
            Self::ThreadEnded => 3,
            Self::Replaced => 4,
        }
    }
}

/// What the word holds from when the child has found it until it leaves a cause.
const NONE_YET: u32 = 5;

/// Where this child leaves its cause; null in a process that has no such word.
static WORD: AtomicPtr<AtomicU32> = AtomicPtr::new(null_mut());

/// The number of the descriptor that connects this child with its parent.
static CONNECTION: AtomicI32 = AtomicI32::new(-1);

/// This process is a child that leaves its cause in `word`, and that `connection` connects with its parent. It stays
/// open until the process ends.
pub(crate) fn watch(connection: impl AsFd, word: &'static AtomicU32) -> std::io::Result<()> {
    mark::set(&connection)?;
    word.store(NONE_YET, Ordering::Release);
    WORD.store(ptr::from_ref(word).cast_mut(), Ordering::Release);
    CONNECTION.store(connection.as_fd().as_raw_fd(), Ordering::Release);
    Ok(())
}

/// Leaves `cause` for the parent. Can be called in the handler of a signal.
pub(super) fn leave(cause: ExitCause) {
    // SAFETY: null, or from a `&'static`.
    if let Some(word) = unsafe { WORD.load(Ordering::Acquire).as_ref() } {
        word.store(cause.to_bits(), Ordering::Release);
    }
}

/// Ends this process, and what it has started, because of `cause`.
pub(crate) fn end(cause: ExitCause) -> ! {
    leave(cause);
    process_tree::kill_escaped();
    signal::kill_own_group()
}

/// Whether this process is a child whose connection was closed.
pub(crate) fn is_disconnected() -> bool {
    let number = CONNECTION.load(Ordering::Relaxed);
    number >= 0 && !mark::is_set_at(number)
}

/// Ends this process if it is a child whose connection was closed. A system call.
pub(crate) fn end_if_disconnected() {
    if is_disconnected() {
        end(ExitCause::Disconnected);
    }
}
