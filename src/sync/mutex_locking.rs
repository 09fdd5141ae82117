//! Locking a mutex: an attempt, and waiting until one succeeds.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytemuck::Pod;

use super::enrolment::Enrolment;
use super::error::Poisoned;
use super::local_side::LocalSide;
use super::mutex_guard::MutexGuard;
use super::mutex_serving::TO_RECOVER;
use super::mutex_word::MutexWord;
use super::party_word::PartyState;
use super::waiting::{Asked, Waiting, block};
use crate::sys::clock::Moment;

/// The word that an attempt has stored, or why no attempt can succeed.
pub(super) type Locked = Result<MutexWord, Poisoned>;

/// How often a thread checks whether the lock is free before it sleeps.
const CHECKS_BEFORE_BLOCKING: usize = 60;

/// Locks, blocking this thread.
#[inline]
pub(super) fn lock_blocking<T: Pod>(
    side: &Arc<LocalSide>,
    kind: u8,
) -> Result<MutexGuard<'_, T>, Poisoned> {
    let locked = match attempt(side, kind, false) {
        Some(locked) => locked,
        None => wait_blocking(side, kind),
    };
    locked.map(|held| MutexGuard::new(side, held))
}

#[cold]
fn wait_blocking(side: &Arc<LocalSide>, kind: u8) -> Locked {
    for _ in 0..CHECKS_BEFORE_BLOCKING {
        if let Some(locked) = attempt(side, kind, false) {
            return locked;
        }
        std::hint::spin_loop();
    }
    block(side, || asked(kind), |party| attempt_as(side, kind, party))
}

/// Locks if the lock can be had now. The caller makes the guard, so that the copy of the value in it is made in its
/// place.
#[inline]
pub(super) fn attempt(side: &LocalSide, kind: u8, is_called: bool) -> Option<Locked> {
    let number = side.number()?;
    let state = side.memory.state();
    let mut word = MutexWord::from_bits(state.load(Ordering::Relaxed));
    loop {
        if !word.is_open() {
            if word.owner().is_some() {
                return None;
            }
            if word.is_poisoned() && kind != TO_RECOVER {
                return Some(Err(Poisoned(())));
            }
            if word.is_kept() && !is_called {
                return None;
            }
        }
        let next = word.locked_by(number, is_called);
        let (from, to) = (word.to_bits(), next.to_bits());
        match state.compare_exchange_weak(from, to, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return Some(Ok(next)),
            Err(found) => word = MutexWord::from_bits(found),
        }
    }
}

/// As [`attempt`], for a party that may wait.
#[inline]
fn attempt_as(side: &LocalSide, kind: u8, party: &mut Option<Enrolment>) -> Option<Locked> {
    match party {
        None => attempt(side, kind, false),
        Some(_) => attempt_enrolled(side, kind, party),
    }
}

fn attempt_enrolled(side: &LocalSide, kind: u8, party: &mut Option<Enrolment>) -> Option<Locked> {
    let enrolment = party.as_ref()?;
    match enrolment.state() {
        Some(PartyState::Waiting) => {}
        Some(PartyState::Called) => {
            if let Some(Ok(held)) = attempt(side, kind, true) {
                // The word has taken the call back.
                if let Some(enrolment) = party.take() {
                    enrolment.end();
                }
                return Some(Ok(held));
            }
            // Another thread was faster. In this order: who unlocks in between does not call, and the lock is
            // tried below.
            enrolment.change(PartyState::Called, PartyState::Waiting);
            announce(side, MutexWord::not_calling);
        }
        Some(PartyState::Refused) => {
            *party = None;
            return Some(Err(Poisoned(())));
        }
        // The record was overwritten.
        _ => {
            *party = None;
            return None;
        }
    }
    // From here on, who unlocks calls.
    let in_order = !enrolment.party().word.is_thread();
    announce(side, |word| word.waited_for(in_order));
    let locked = attempt(side, kind, false);
    if locked.is_some() {
        // If it was called meanwhile, dropping it has another party called.
        *party = None;
    }
    call_if_free(side);
    locked
}

/// Has a party called if the lock has no owner that will do it.
fn call_if_free(side: &LocalSide) {
    let word = MutexWord::from_bits(side.memory.state().load(Ordering::SeqCst));
    if word.owner().is_none() && word.needs_call() {
        side.serve(false);
    }
}

fn announce(side: &LocalSide, change: impl Fn(MutexWord) -> MutexWord) {
    let next = |bits| Some(change(MutexWord::from_bits(bits)).to_bits());
    let state = side.memory.state();
    // Never an error: there is always a next value.
    let _ = state.fetch_update(Ordering::SeqCst, Ordering::Relaxed, next);
}

fn asked(kind: u8) -> Asked {
    Asked {
        kind,
        amount: Moment::now().to_bits(),
    }
}

/// Locks when it can.
pub(super) struct Locking<'a, T> {
    side: &'a Arc<LocalSide>,
    kind: u8,
    waiting: Waiting<'a>,
    value: PhantomData<fn() -> T>,
}

impl<'a, T> Locking<'a, T> {
    #[inline]
    pub(super) fn new(side: &'a Arc<LocalSide>, kind: u8) -> Self {
        Self {
            side,
            kind,
            waiting: Waiting::new(side),
            value: PhantomData,
        }
    }
}

impl<'a, T: Pod> Future for Locking<'a, T> {
    type Output = Result<MutexGuard<'a, T>, Poisoned>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (side, kind) = (self.side, self.kind);
        let waiting = &mut self.waiting;
        let locked = waiting.poll(cx, || asked(kind), |party| attempt_as(side, kind, party));
        locked.map_ok(|held| MutexGuard::new(side, held))
    }
}

/// Recovers when it can.
pub(super) struct Recovering<'a, T>(pub(super) Locking<'a, T>);

impl<'a, T: Pod> Future for Recovering<'a, T> {
    type Output = MutexGuard<'a, T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            // A request to recover is never refused, unless its record was overwritten.
            if let Ok(guard) = ready!(Pin::new(&mut self.0).poll(cx)) {
                return Poll::Ready(guard);
            }
        }
    }
}
