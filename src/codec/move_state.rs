//! Where something is that moves when it is sent.
//!
//! Whoever does something with it that nobody elsewhere may do at the same time takes the turn. While it is sent nobody
//! gets the turn, and who had it has given it back: so nobody is at it here when it arrives there.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::Waker;

/// Where something is that moves when it is sent, and is gone from here then.
#[derive(Debug, Default)]
pub(crate) struct MoveState {
    /// Bits.
    state: AtomicU8,
    turn: AtomicBool,
    /// Wakes who waits for something here.
    left_behind: OnceLock<Waker>,
}

/// It is in a value that is not sent yet.
const LEAVING: u8 = 1;
/// That value is being sent at this moment.
const SHUT: u8 = 2;
/// It was sent elsewhere, and may be sent once more: as a task's argument, to another worker.
const LENT: u8 = 4;
/// It was sent elsewhere.
const GONE: u8 = 8;

/// Leave to do something with what has a [`Passage`]. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct UseGuard<'a>(&'a MoveState);

impl Drop for UseGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.turn.store(false, Ordering::Release);
    }
}

impl MoveState {
    /// Whether it was sent elsewhere.
    #[inline]
    pub(crate) fn is_gone(&self) -> bool {
        self.state.load(Ordering::Acquire) & (LENT | GONE) != 0
    }

    /// Whether it was not sent elsewhere, and is in no value that will perhaps be.
    pub(crate) fn is_here(&self) -> bool {
        self.state.load(Ordering::Acquire) == 0
    }

    /// Has `waker` woken when it is gone.
    pub(crate) fn tell(&self, waker: impl FnOnce() -> Waker) {
        self.left_behind.get_or_init(waker);
    }

    /// Takes the turn, if nobody has it. Whoever has it does not wait for anybody else's.
    #[inline]
    pub(crate) fn try_turn(&self) -> Option<UseGuard<'_>> {
        let turn = self.take_turn()?;
        (self.state.load(Ordering::Relaxed) & SHUT == 0).then_some(turn)
    }

    #[inline]
    fn take_turn(&self) -> Option<UseGuard<'_>> {
        let taken = self.turn.swap(true, Ordering::Acquire);
        // One made in vain would give back somebody else's.
        (!taken).then(|| UseGuard(self))
    }

    /// It is in a value that will perhaps be sent.
    ///
    /// # Errors
    ///
    /// It is in one already, or was sent elsewhere.
    pub(super) fn depart(&self) -> Result<(), String> {
        let before = self.state.fetch_or(LEAVING, Ordering::AcqRel);
        if before & GONE != 0 {
            return Err("an end of a pipe was sent elsewhere before".to_owned());
        }
        if before & LEAVING != 0 {
            return Err("the same end of a pipe is in it twice".to_owned());
        }
        Ok(())
    }

    /// That value is not sent.
    pub(super) fn stay(&self) {
        self.clear(LEAVING);
    }

    /// That value is about to be sent. Returns when nobody has the turn.
    pub(super) fn shut(&self) {
        self.set(SHUT);
    }

    /// It was not sent, and will perhaps be.
    pub(super) fn open(&self) {
        self.clear(SHUT);
    }

    /// It was sent.
    pub(super) fn leave(&self) {
        self.set(GONE);
        self.go();
    }

    /// It will be sent, and perhaps once more. Returns when nobody has the turn.
    pub(super) fn lend(&self) {
        self.set(LENT);
        self.go();
    }

    fn go(&self) {
        self.clear(LEAVING | SHUT);
        if let Some(waker) = self.left_behind.get() {
            waker.wake_by_ref();
        }
    }

    /// Whoever has the turn waits for nobody, so this is short.
    fn set(&self, state: u8) {
        let turn = loop {
            match self.take_turn() {
                Some(turn) => break turn,
                None => std::thread::yield_now(),
            }
        };
        self.state.fetch_or(state, Ordering::Release);
        drop(turn);
    }

    fn clear(&self, state: u8) {
        self.state.fetch_and(!state, Ordering::Release);
    }
}
