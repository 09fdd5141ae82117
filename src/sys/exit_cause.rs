//! Why a child ends without an outcome, in a word that its parent reads when the child has ended.
//!
//! Runs in children, on any thread and in the handler of a signal. Here is also what a child needs to find out that it
//! has lost its parent: the number of the descriptor that connects them.
//!
//! # Safety
//!
//! The word is memory that is never unmapped.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd as _};
use std::ptr::{self, null_mut};
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use super::{fork_epoch, mark, process_tree, signal};

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

thread_local! {
    /// Where this thread leaves the cause if the process ends because of it, and it runs tasks of a lane of its own.
    /// Has nothing to drop, so it can be read in the handler of a signal.
    static OF_LANE: Cell<Option<&'static AtomicU32>> = const { Cell::new(None) };
}

/// The number of the descriptor that connects this child with its parent.
static CONNECTION: AtomicI32 = AtomicI32::new(-1);

/// The epoch of the child, which its copies do not have: their number leads elsewhere, and that is no fault of the child.
static EPOCH: AtomicU64 = AtomicU64::new(0);

/// This process is a child that leaves its cause in `word`, and that `connection` connects with its parent. It stays
/// open until the process ends.
pub(crate) fn watch(connection: impl AsFd, word: &'static AtomicU32) -> std::io::Result<()> {
    mark::set(&connection)?;
    word.store(NONE_YET, Ordering::Release);
    WORD.store(ptr::from_ref(word).cast_mut(), Ordering::Release);
    EPOCH.store(fork_epoch::current(), Ordering::Release);
    CONNECTION.store(connection.as_fd().as_raw_fd(), Ordering::Release);
    Ok(())
}

/// This thread leaves in `word` why this process ends, if it ends because of this thread.
pub(crate) fn watch_lane(word: &'static AtomicU32) {
    word.store(NONE_YET, Ordering::Release);
    OF_LANE.set(Some(word));
}

/// Leaves `cause` for the parent. Can be called in the handler of a signal.
pub(super) fn leave(cause: ExitCause) {
    if let Ok(Some(word)) = OF_LANE.try_with(Cell::get) {
        word.store(cause.to_bits(), Ordering::Release);
        if cause == ExitCause::OutOfMemory {
            return; // it is of the lane's task alone
        }
    }
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
    number >= 0
        && !mark::is_set_at(number)
        && fork_epoch::current() == EPOCH.load(Ordering::Relaxed)
}

/// Ends this process if it is a child whose connection was closed. A system call.
pub(crate) fn end_if_disconnected() {
    if is_disconnected() {
        end(ExitCause::Disconnected);
    }
}
