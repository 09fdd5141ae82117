//! Waiting at an end of a channel: for a message, for room or for the end, in async code and in threads.
//!
//! Both check a few times before they arm the doorbell: while messages stream, ringing costs more than checking.
//! Between two checks others run. What must stay true: a waiter is registered before it checks for the last time, so
//! that it misses no wake-up. Never here: what an attempt does, and how a doorbell is armed; see `mpmc` and `spsc`.

use std::future::poll_fn;
use std::os::fd::AsFd as _;
use std::task::{Context, Poll, ready};

use super::attempt::{Attempt, Popped, Pushed, Taken};
use super::bounds::Wanted;
use super::end::Side;
use super::flavor::{Arming, Flavor};
use super::message::{LONGEST_HANDLED_HERE, Outgoing};
use super::patience::CHECKS_BEFORE_SLEEP;
use super::waiters::Waiter;
use crate::sys::buffer::StackBuf;
use crate::sys::yields::Yields;

/// How often a task that was woken may find nothing before it lets others run.
const CHECKS_IN_A_ROW: usize = 8;

/// How often an attempt that must not wait tries a lock that is held.
const LOCK_ATTEMPTS: usize = 64;

/// How a task waits.
enum Sleep {
    /// It will be woken.
    Asleep,
    LookAgain,
    Closed,
}

/// Sends a short message if that can be done at once; true if it was sent.
#[inline]
pub(super) fn push_at_once<F: Flavor>(flavor: &F, bytes: &[u8], cx: &mut Context<'_>) -> bool {
    let Poll::Ready(budget) = tokio::task::coop::poll_proceed(cx) else {
        return false;
    };
    let is_sent = matches!(flavor.try_push_bytes(bytes, None), Attempt::Done(Ok(())));
    if is_sent {
        budget.made_progress();
    }
    is_sent
}

/// Waits until the message is sent. A sender that has waited in vain for room in the ring sends beside it. Returns
/// [`Attempt::Elsewhere`] if the message is too long to be copied here.
pub(super) fn poll_push<F: Flavor>(
    flavor: &F,
    outgoing: &mut Outgoing,
    waiter: &mut Waiter,
    cx: &mut Context<'_>,
) -> Poll<Pushed> {
    let wanted = flavor.end().wanted(outgoing);
    poll_attempts(flavor, wanted, waiter, cx, || {
        push_or_spill(flavor, outgoing, LONGEST_HANDLED_HERE)
    })
}

/// Sends, beside the ring if the sender has looked often enough for room in it and nothing was received meanwhile.
fn push_or_spill<F: Flavor>(flavor: &F, outgoing: &mut Outgoing, most: usize) -> Pushed {
    let end = flavor.end();
    match flavor.try_push(outgoing) {
        Attempt::NotNow if end.patience().is_exhausted() && end.has_stalled() => {
            flavor.try_spill(outgoing, most, || true)
        }
        pushed => pushed,
    }
}

/// Waits for a message.
#[inline]
pub(super) fn poll_pop<F: Flavor>(
    flavor: &F,
    buf: &mut StackBuf,
    waiter: &mut Waiter,
    cx: &mut Context<'_>,
) -> Poll<Popped> {
    poll_attempts(flavor, Wanted::default(), waiter, cx, || {
        flavor.try_pop(buf, LONGEST_HANDLED_HERE)
    })
}

/// Waits until an attempt is done, or the channel is closed.
#[inline]
fn poll_attempts<F: Flavor, T>(
    flavor: &F,
    wanted: Wanted,
    waiter: &mut Waiter,
    cx: &mut Context<'_>,
    mut attempt: impl FnMut() -> Attempt<T>,
) -> Poll<Attempt<T>> {
    let budget = ready!(tokio::task::coop::poll_proceed(cx));
    for _ in 0..CHECKS_IN_A_ROW {
        let sleep = match attempt() {
            Attempt::NotNow => sleep(flavor, wanted, waiter, cx),
            Attempt::Busy => defer(flavor, waiter, cx),
            done => {
                budget.made_progress();
                return Poll::Ready(done);
            }
        };
        match sleep {
            Sleep::Asleep => return Poll::Pending,
            Sleep::LookAgain => {}
            Sleep::Closed => return Poll::Ready(Attempt::Closed),
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Waits for anything new in the socket, and for wake-ups of this process's own.
pub(crate) fn poll_news<F: Flavor>(
    flavor: &F,
    waiter: &mut Waiter,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let end = flavor.end();
    end.waiters().poll_news(end.socket().as_fd(), waiter, cx)
}

/// How often a poll checks whether the channel is closed while there is news of it.
const MOST_CHECKS: usize = 64;

/// Resolves when the channel is closed, or the other side is gone.
pub(super) fn until_closed<F: Flavor>(
    flavor: &F,
) -> impl Future<Output = ()> + Send + Unpin + use<'_, F> {
    let mut waiter = Waiter::default();
    poll_fn(move |cx| poll_closed(flavor, &mut waiter, cx))
}

fn poll_closed<F: Flavor>(flavor: &F, waiter: &mut Waiter, cx: &mut Context<'_>) -> Poll<()> {
    for _ in 0..MOST_CHECKS {
        // First to be woken for news, then to look whether there are any.
        let has_news = poll_news(flavor, waiter, cx).is_ready();
        if flavor.is_closed() {
            return Poll::Ready(());
        }
        if !has_news {
            return Poll::Pending;
        }
    }
    // Other tasks first: a process may ring without end.
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Waits for room for `wanted` bytes, or for a message.
fn sleep<F: Flavor>(
    flavor: &F,
    wanted: Wanted,
    waiter: &mut Waiter,
    cx: &mut Context<'_>,
) -> Sleep {
    let end = flavor.end();
    if end.patience().looks_again() {
        cx.waker().wake_by_ref();
        return Sleep::Asleep;
    }
    // First to be woken for news, then to look whether there are any.
    let has_news = poll_news(flavor, waiter, cx).is_ready();
    match flavor.arm(wanted) {
        Arming::Ready => return Sleep::LookAgain,
        Arming::Closed => return Sleep::Closed,
        Arming::Busy if end.has_lost_receivers() => return Sleep::Closed,
        Arming::Busy => return defer(flavor, waiter, cx),
        Arming::RetryLater => end.waiters().retry_later(waiter, cx),
        Arming::ArmedForAWhile => {
            end.waiters().retry_later(waiter, cx);
            if has_news {
                cx.waker().wake_by_ref();
            }
        }
        // The socket tells once. To be told again, it must be asked again.
        Arming::Armed if has_news => cx.waker().wake_by_ref(),
        Arming::Armed => {}
    }
    Sleep::Asleep
}

/// Waits for the holder of a lock, which may have been stopped.
fn defer<F: Flavor>(flavor: &F, waiter: &mut Waiter, cx: &mut Context<'_>) -> Sleep {
    let end = flavor.end();
    match end.patience().defers() {
        true => cx.waker().wake_by_ref(),
        false => end.waiters().retry_later(waiter, cx),
    }
    Sleep::Asleep
}

/// Sends if there is room now. Waits for the holder of a lock for a moment at most.
pub(super) fn push_now<F: Flavor>(flavor: &F, outgoing: &mut Outgoing) -> Pushed {
    match attempt_now(|| flavor.try_push(outgoing)) {
        Attempt::NotNow => attempt_now(|| flavor.try_spill(outgoing, usize::MAX, || true)),
        pushed => pushed,
    }
}

/// Receives if there is a message now. Waits for the holder of a lock for a moment at most.
pub(super) fn pop_now<F: Flavor>(flavor: &F, buf: &mut StackBuf) -> Popped {
    match attempt_now(|| flavor.try_pop(buf, usize::MAX)) {
        Attempt::NotNow if flavor.is_closed() => pop_last(flavor, buf),
        other => other,
    }
}

fn attempt_now<T>(mut attempt: impl FnMut() -> Attempt<T>) -> Attempt<T> {
    let mut yields = Yields::default();
    for _ in 0..LOCK_ATTEMPTS {
        match attempt() {
            Attempt::Busy if yields.have_taken_long() => break,
            Attempt::Busy => yields.yield_now(),
            done => return done,
        }
    }
    Attempt::Busy
}

/// Receives a message that came before the channel was closed.
fn pop_last<F: Flavor>(flavor: &F, buf: &mut StackBuf) -> Attempt<Taken> {
    match flavor.arm(Wanted::default()) {
        Arming::Closed => Attempt::Closed,
        Arming::Ready => flavor.try_pop(buf, usize::MAX),
        _ => Attempt::Busy,
    }
}

/// Sends, blocking this thread until that is done.
pub(super) fn push_blocking<F: Flavor>(flavor: &F, outgoing: &mut Outgoing) -> Pushed {
    let wanted = flavor.end().wanted(outgoing);
    attempt_blocking(flavor, wanted, || {
        push_or_spill(flavor, outgoing, usize::MAX)
    })
}

/// Receives, blocking this thread until there is a message.
pub(super) fn pop_blocking<F: Flavor>(flavor: &F, buf: &mut StackBuf) -> Popped {
    attempt_blocking(flavor, Wanted::default(), || {
        flavor.try_pop(buf, usize::MAX)
    })
}

fn attempt_blocking<F: Flavor, T>(
    flavor: &F,
    wanted: Wanted,
    mut attempt: impl FnMut() -> Attempt<T>,
) -> Attempt<T> {
    loop {
        match attempt() {
            Attempt::NotNow if looks_in_vain(flavor) => {
                if !begins_to_spill(flavor) && !flavor.block(wanted) {
                    return Attempt::Closed;
                }
            }
            Attempt::NotNow => {}
            Attempt::Busy => flavor.end().patience().defer_blocking(),
            done => return done,
        }
    }
}

/// Lets others run until the number of messages changes. True if it does not, or if others want the processor.
fn looks_in_vain<F: Flavor>(flavor: &F) -> bool {
    let end = flavor.end();
    if end.patience().sleeps_at_once() {
        return true;
    }
    let before = end.len();
    let mut yields = Yields::default();
    for _ in 0..CHECKS_BEFORE_SLEEP {
        yields.yield_now();
        let have_taken_long = yields.have_taken_long();
        if have_taken_long {
            end.patience().note_long_yields();
        }
        if end.len() != before {
            return false;
        }
        if have_taken_long {
            return true;
        }
    }
    true
}

/// Ends the patience of a sender that waits for room in the ring only, and sees that nothing is received. True if it
/// should attempt again.
fn begins_to_spill<F: Flavor>(flavor: &F) -> bool {
    let end = flavor.end();
    let begins = F::SPILLS
        && end.side() == Side::Send
        && end.len() < end.capacity()
        && !end.patience().is_exhausted()
        && end.has_stalled();
    if begins {
        end.patience().exhaust();
    }
    begins
}
