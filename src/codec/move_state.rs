//! The state of a pipe end that moves to another process when it is sent.
//!
//! Runs in the process that sends. A pipe has one owner for each end: once the end has arrived in the other process,
//! this process must not use it. The state says so, and a [`UseGuard`] excludes that the end is used here while the
//! value with it is being sent.
//!
//! ```text
//! HERE                    begin → MOVING
//! MOVING                  lock → LOCKED · commit → GONE · lend → LENT · abort → HERE
//! MOVING LOCKED           unlock → MOVING · commit → GONE · lend → LENT · abort → HERE
//! LENT                    begin → LENT MOVING
//! LENT MOVING             lock → LENT LOCKED · commit → GONE · lend → LENT · abort → LENT
//! LENT MOVING LOCKED      unlock → LENT MOVING · commit → GONE · lend → LENT · abort → LENT
//! GONE                    begin is an error: final
//! ```
//!
//! Must stay true: no other combination of bits exists; a guard is held for a short time and its holder waits for no
//! other guard, so [`MoveState::lock`] returns soon.
//!
//! Never here: descriptors, and what an end is.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::Waker;

/// Set while the end is in a value that may be sent. Cannot be set when the end is `GONE`.
const MOVING: u8 = 1;

/// Set while the value with the end is being sent: the end cannot be used. Cannot be set without `MOVING`.
const LOCKED: u8 = 2;

/// Set once the end was sent as an argument or result. The end cannot be used here, but the same value may be sent once
/// more, to another worker. Cannot be set when the end is `GONE`.
const LENT: u8 = 4;

/// Set once the end was sent for good. Cannot be set together with any other bit.
const GONE: u8 = 8;

/// The state of one end.
#[derive(Debug, Default)]
pub(crate) struct MoveState {
    bits: AtomicU8,
    /// Whether a [`UseGuard`] exists.
    in_use: AtomicBool,
    /// Wakes the tasks and threads that wait for something at this end.
    on_moved: OnceLock<Waker>,
}

/// The right to use the end. At most one exists for each end.
#[derive(Debug)]
pub(crate) struct UseGuard<'a>(&'a MoveState);

impl Drop for UseGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.in_use.store(false, Ordering::Release);
    }
}

impl MoveState {
    /// Whether the end was sent to another process.
    #[inline]
    pub(crate) fn is_gone(&self) -> bool {
        self.bits.load(Ordering::Acquire) & (LENT | GONE) != 0
    }

    /// Whether the end was not sent, and is not in a value that may be.
    pub(crate) fn is_here(&self) -> bool {
        self.bits.load(Ordering::Acquire) == 0
    }

    /// Makes the state wake `waker` once the end was sent.
    pub(crate) fn wake_when_moved(&self, waker: impl FnOnce() -> Waker) {
        self.on_moved.get_or_init(waker);
    }

    /// The right to use the end, if no other guard exists and the end is not locked.
    #[inline]
    pub(crate) fn try_use(&self) -> Option<UseGuard<'_>> {
        let guard = self.take_guard()?;
        (self.bits.load(Ordering::Relaxed) & LOCKED == 0).then_some(guard)
    }

    /// Puts the end into a value that may be sent.
    ///
    /// # Errors
    ///
    /// The end is in a value already, or was sent for good.
    pub(super) fn begin(&self) -> Result<(), &'static str> {
        self.update(|bits| begin(bits).ok())
            .map_err(|bits| begin(bits).err().unwrap_or_default())
    }

    /// The value with the end is not sent.
    pub(super) fn abort(&self) {
        let _ = self.update(|bits| Some(abort(bits)));
    }

    /// The value with the end is about to be sent. Returns when no guard exists.
    pub(super) fn lock(&self) {
        self.update_unused(lock);
    }

    /// The value with the end was not sent, and may be sent later.
    pub(super) fn unlock(&self) {
        let _ = self.update(|bits| Some(unlock(bits)));
    }

    /// The value with the end was sent, and is not sent again. Returns when no guard exists.
    pub(super) fn commit(&self) {
        self.update_unused(commit);
        self.wake();
    }

    /// The value with the end is sent, and may be sent again. Returns when no guard exists.
    pub(super) fn lend(&self) {
        self.update_unused(lend);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.on_moved.get() {
            waker.wake_by_ref();
        }
    }

    #[inline]
    fn take_guard(&self) -> Option<UseGuard<'_>> {
        let is_taken = self.in_use.swap(true, Ordering::Acquire);
        // Not `then_some`: a guard that is made and dropped would release the guard of another thread.
        (!is_taken).then(|| UseGuard(self))
    }

    /// Changes the bits while no guard exists.
    fn update_unused(&self, transition: impl Fn(u8) -> u8) {
        let guard = loop {
            match self.take_guard() {
                Some(guard) => break guard,
                None => std::thread::yield_now(),
            }
        };
        let _ = self.update(|bits| Some(transition(bits)));
        drop(guard);
    }

    /// Changes the bits, unless the transition is none.
    fn update(&self, transition: impl Fn(u8) -> Option<u8>) -> Result<(), u8> {
        self.bits
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, transition)
            .map(|_| ())
    }
}

fn begin(bits: u8) -> Result<u8, &'static str> {
    match bits {
        GONE => Err("was sent elsewhere before"),
        _ if bits & MOVING != 0 => Err("is in it twice"),
        _ => Ok(bits | MOVING),
    }
}

#[must_use]
fn abort(bits: u8) -> u8 {
    bits & !(MOVING | LOCKED)
}

#[must_use]
fn lock(bits: u8) -> u8 {
    match bits & MOVING {
        0 => bits,
        _ => bits | LOCKED,
    }
}

#[must_use]
fn unlock(bits: u8) -> u8 {
    bits & !LOCKED
}

#[must_use]
fn commit(_: u8) -> u8 {
    GONE
}

#[must_use]
fn lend(bits: u8) -> u8 {
    match bits {
        GONE => GONE,
        _ => LENT,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    const HERE: u8 = 0;
    const STATES: [u8; 7] = [
        HERE,
        MOVING,
        MOVING | LOCKED,
        LENT,
        LENT | MOVING,
        LENT | MOVING | LOCKED,
        GONE,
    ];

    fn table(transition: impl Fn(u8) -> u8) -> [u8; 7] {
        STATES.map(transition)
    }

    #[test]
    fn begin_puts_an_end_into_one_value_at_a_time() {
        let is_begun = STATES.map(|bits| begin(bits).ok());
        let lent_moving = Some(LENT | MOVING);
        let expected = [Some(MOVING), None, None, lent_moving, None, None, None];
        assert_eq!(is_begun, expected);
    }

    #[test]
    fn abort_returns_to_where_begin_came_from() {
        let expected = [HERE, HERE, HERE, LENT, LENT, LENT, GONE];
        assert_eq!(table(abort), expected);
    }

    #[test]
    fn lock_needs_a_value_that_moves() {
        let locked = MOVING | LOCKED;
        let lent = LENT | locked;
        let expected = [HERE, locked, locked, LENT, lent, lent, GONE];
        assert_eq!(table(lock), expected);
    }

    #[test]
    fn unlock_leaves_the_end_in_its_value() {
        let lent = LENT | MOVING;
        let expected = [HERE, MOVING, MOVING, LENT, lent, lent, GONE];
        assert_eq!(table(unlock), expected);
    }

    #[test]
    fn commit_is_final() {
        assert_eq!(table(commit), [GONE; 7]);
        assert!(begin(GONE).is_err());
    }

    #[test]
    fn lend_allows_one_more_send() {
        let expected = [LENT, LENT, LENT, LENT, LENT, LENT, GONE];
        assert_eq!(table(lend), expected);
        assert!(begin(LENT).is_ok());
    }

    #[test]
    fn every_transition_leads_to_a_state_of_the_table() {
        let moved = STATES.iter().filter_map(|&bits| begin(bits).ok());
        let others: [fn(u8) -> u8; 5] = [abort, lock, unlock, commit, lend];
        let others = others.into_iter().flat_map(table);
        assert!(moved.chain(others).all(|bits| STATES.contains(&bits)));
    }

    #[test]
    fn guard_is_given_once_and_not_while_locked() {
        let state = MoveState::default();
        let guard = state.try_use().unwrap();
        assert!(state.try_use().is_none());
        assert!(state.try_use().is_none(), "a refusal releases the guard");
        drop(guard);
        state.begin().unwrap();
        assert!(state.try_use().is_some());
        state.lock();
        assert!(state.try_use().is_none() && !state.is_gone());
        state.unlock();
        assert!(state.try_use().is_some());
    }

    #[test]
    fn lock_waits_for_the_guard() {
        let state = Arc::new(MoveState::default());
        state.begin().unwrap();
        let guard = state.try_use().unwrap();
        let locking = Arc::clone(&state);
        let thread = std::thread::spawn(move || locking.lock());
        std::thread::yield_now();
        assert!(!thread.is_finished());
        drop(guard);
        thread.join().unwrap();
        assert!(state.try_use().is_none());
    }

    #[test]
    fn commit_and_lend_wake_the_end() {
        struct Count(AtomicU8);

        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }

        let count = Arc::new(Count(AtomicU8::new(0)));
        let state = MoveState::default();
        state.wake_when_moved(|| Arc::clone(&count).into());
        state.begin().unwrap();
        state.lend();
        state.begin().unwrap();
        state.commit();
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
        assert!(state.is_gone() && !state.is_here() && state.begin().is_err());
    }
}
