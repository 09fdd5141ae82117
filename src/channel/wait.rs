//! Waiting at an end of a channel: for a message, for room, for the end; in async code and in threads.
//!
//! Both look a few times before they arrange to be rung for: while messages stream, ringing costs more
//! than looking. Between two looks others run.

use std::future::poll_fn;
use std::os::fd::AsFd as _;
use std::sync::LazyLock;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::doorbell::Verdict;
use super::end::{End, Popped, Pushed, Side, bytes_of};
use super::message::Cargo;
use super::waiters::Waiter;
use crate::sys::buffer::StackBuf;
use crate::sys::socket;

/// How often a side looks again, letting others run in between, before it arranges to be rung for.
const PATIENCE: u32 = 100;

/// The same, where there is one processor for both sides.
const PATIENCE_ON_ONE: u32 = 2;

/// How often in a row a lock is refused before its holder is believed to have been stopped.
const MOST_REFUSALS: u32 = 200;

/// How often before it is believed to wait for a processor.
const FEW_REFUSALS: u32 = 3;

/// How often an async side finds nothing after it was told to look, before it lets others run.
const LOOKS_IN_A_ROW: usize = 8;

/// How often who does not want to wait tries a lock that somebody else holds.
const TRIES: usize = 64;

/// How long a blocked thread sleeps when nobody will ring for it.
pub(super) const NAP: Duration = Duration::from_micros(50);

/// Whether this process may run on one processor only, by affinity or quota. Asked once: it costs system calls.
fn shares_one_processor() -> bool {
    static ONE: LazyLock<bool> = LazyLock::new(|| {
        let processors = std::thread::available_parallelism();
        processors.is_ok_and(|processors| processors.get() == 1)
    });
    *ONE
}

enum Sleep {
    Asleep,
    LookAgain,
    Closed,
}

impl End {
    /// Sends what `bytes` encode if that can be done without waiting; true if it was.
    #[inline]
    pub(crate) fn push_at_once(&self, bytes: &[u8], cx: &mut Context<'_>) -> bool {
        let Poll::Ready(budget) = tokio::task::coop::poll_proceed(cx) else {
            return false;
        };
        let sent = matches!(self.try_push_bytes(bytes, None), Pushed::Done);
        if sent {
            budget.made_progress();
        }
        sent
    }

    /// Waits for the message to be sent.
    pub(crate) fn poll_push(
        &self,
        cargo: &mut Cargo,
        seat: &mut Waiter,
        cx: &mut Context<'_>,
    ) -> Poll<Pushed> {
        let budget = ready!(tokio::task::coop::poll_proceed(cx));
        for _ in 0..LOOKS_IN_A_ROW {
            let sleep = match self.try_push(cargo) {
                Pushed::Full => self.sleep(bytes_of(cargo), seat, cx),
                Pushed::Busy => self.stand_by(seat, cx),
                done => {
                    budget.made_progress();
                    return Poll::Ready(done);
                }
            };
            match sleep {
                Sleep::Asleep => return Poll::Pending,
                Sleep::LookAgain => {}
                Sleep::Closed => return Poll::Ready(Pushed::Closed),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Waits for a message.
    #[inline]
    pub(crate) fn poll_pop(
        &self,
        room: &mut StackBuf,
        seat: &mut Waiter,
        cx: &mut Context<'_>,
    ) -> Poll<Popped> {
        let budget = ready!(tokio::task::coop::poll_proceed(cx));
        for _ in 0..LOOKS_IN_A_ROW {
            let sleep = match self.try_pop(room) {
                Popped::Empty => self.sleep(0, seat, cx),
                Popped::Busy => self.stand_by(seat, cx),
                done => {
                    budget.made_progress();
                    return Poll::Ready(done);
                }
            };
            match sleep {
                Sleep::Asleep => return Poll::Pending,
                Sleep::LookAgain => {}
                Sleep::Closed => return Poll::Ready(Popped::Closed),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Waits for any news: for those who look for something else than room or a message.
    pub(crate) fn poll_news(&self, seat: &mut Waiter, cx: &mut Context<'_>) -> Poll<()> {
        self.hub.poll_news(self.socket.as_fd(), seat, cx)
    }

    /// Waits until it is closed, or the other side is gone.
    pub(crate) fn poll_closed(&self, seat: &mut Waiter, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            // First to be told of news, and then to look whether there were any.
            let heard = self.poll_news(seat, cx).is_ready();
            if self.is_closed() {
                return Poll::Ready(());
            }
            if !heard {
                return Poll::Pending;
            }
        }
    }

    /// Resolves when it is closed, or the other side is gone.
    pub(crate) fn until_closed(&self) -> impl Future<Output = ()> + Send + Unpin + use<'_> {
        let mut seat = Waiter::default();
        poll_fn(move |cx| self.poll_closed(&mut seat, cx))
    }

    /// Makes the next news of this process's own, such as [`End::wake_all`], wake the caller.
    pub(crate) fn sit(&self, seat: &mut Waiter, cx: &Context<'_>) {
        self.hub.sit(seat, cx);
    }

    /// Wakes the caller in a while.
    pub(crate) fn nap(&self, seat: &mut Waiter, cx: &Context<'_>) {
        self.hub.nap(seat, cx);
    }

    fn sleep(&self, wanted: usize, seat: &mut Waiter, cx: &mut Context<'_>) -> Sleep {
        if self.is_patient() {
            cx.waker().wake_by_ref();
            return Sleep::Asleep;
        }
        // First to be told of news, and then to look whether there were any.
        let heard = self.poll_news(seat, cx).is_ready();
        match self.must_wait(wanted) {
            Verdict::Go => return Sleep::LookAgain,
            Verdict::Closed => return Sleep::Closed,
            Verdict::Busy if self.has_lost_its_receivers() => return Sleep::Closed,
            Verdict::Busy => return self.stand_by(seat, cx),
            Verdict::Nap => self.hub.nap(seat, cx),
            // Told once; it must ask again to be told once more.
            Verdict::Wait if heard => cx.waker().wake_by_ref(),
            Verdict::Wait => {}
        }
        Sleep::Asleep
    }

    /// Waits for somebody who holds a lock, and may have been stopped.
    fn stand_by(&self, seat: &mut Waiter, cx: &mut Context<'_>) -> Sleep {
        match self.steps_aside() {
            true => cx.waker().wake_by_ref(),
            false => self.hub.nap(seat, cx),
        }
        Sleep::Asleep
    }

    /// Lets the holder of a lock run. False if that has not helped for long.
    fn steps_aside(&self) -> bool {
        let refusals = self.refusals.fetch_add(1, Ordering::Relaxed);
        let patient = refusals < MOST_REFUSALS;
        if patient && refusals >= FEW_REFUSALS {
            std::thread::yield_now();
        }
        patient
    }

    /// A sender need not know what else is going on to know this. A receiver must: somebody may be sending
    /// the last message.
    pub(super) fn has_lost_its_receivers(&self) -> bool {
        self.side == Side::Send && self.other_side_is_gone()
    }

    /// Whether to look once more, after others have run.
    fn is_patient(&self) -> bool {
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        if !shares_one_processor() {
            return looks < PATIENCE;
        }
        // The other side cannot do anything while this one looks: it is let run instead.
        let patient = looks < PATIENCE_ON_ONE;
        if patient {
            std::thread::yield_now();
        }
        patient
    }

    /// Sends, if it can be done now, and nobody else is at it for long.
    pub(crate) fn push_now(&self, cargo: &mut Cargo) -> Pushed {
        for _ in 0..TRIES {
            match self.try_push(cargo) {
                Pushed::Busy => std::thread::yield_now(),
                done => return done,
            }
        }
        Pushed::Busy
    }

    /// Receives, if there is something now, and nobody else is at it for long.
    pub(crate) fn pop_now(&self, room: &mut StackBuf) -> Popped {
        for _ in 0..TRIES {
            match self.try_pop(room) {
                Popped::Busy => std::thread::yield_now(),
                Popped::Empty => return self.nothing_now(room),
                done => return done,
            }
        }
        Popped::Busy
    }

    /// Whether there is nothing now, or never will be.
    fn nothing_now(&self, room: &mut StackBuf) -> Popped {
        if !self.is_closed() {
            return Popped::Empty;
        }
        match self.must_wait(0) {
            Verdict::Closed => Popped::Closed,
            // There is: it came before the end.
            Verdict::Go => self.try_pop(room),
            _ => Popped::Busy,
        }
    }

    /// Sends, blocking this thread until it is done.
    pub(crate) fn push_blocking(&self, cargo: &mut Cargo) -> Pushed {
        loop {
            match self.try_push(cargo) {
                Pushed::Full if self.block(bytes_of(cargo)) => return Pushed::Closed,
                Pushed::Full => {}
                Pushed::Busy => self.stand_by_blocking(),
                done => return done,
            }
        }
    }

    /// Receives, blocking this thread until there is something.
    pub(crate) fn pop_blocking(&self, room: &mut StackBuf) -> Popped {
        loop {
            match self.try_pop(room) {
                Popped::Empty if self.block(0) => return Popped::Closed,
                Popped::Empty => {}
                Popped::Busy => self.stand_by_blocking(),
                done => return done,
            }
        }
    }

    /// Sleeps until there is news, for a sender about room for `wanted` bytes. True if it is closed.
    fn block(&self, wanted: usize) -> bool {
        let before = self.len();
        for _ in 0..PATIENCE {
            std::thread::yield_now();
            if self.len() != before {
                return false;
            }
        }
        if !self.duct.shared {
            return self.block_solo(wanted);
        }
        match self.must_wait(wanted) {
            Verdict::Go => {}
            Verdict::Closed => return true,
            Verdict::Busy if self.has_lost_its_receivers() => return true,
            // It fails only for want of kernel memory; then this loop is a slow one.
            Verdict::Wait => drop(socket::wait_readable(&self.socket, None)),
            Verdict::Busy => self.stand_by_blocking(),
            Verdict::Nap => std::thread::sleep(NAP),
        }
        false
    }

    pub(super) fn stand_by_blocking(&self) {
        if !self.steps_aside() {
            std::thread::sleep(NAP);
        }
    }
}
