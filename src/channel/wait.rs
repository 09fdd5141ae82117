//! Waiting at an end of a channel: for a message, for room, for the end; in async code and in threads.
//!
//! An async side looks a few times before it arranges to be rung for: while messages stream, ringing costs
//! more than looking. Between two looks others run.

use std::os::fd::AsFd as _;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::cargo::{Cargo, Refused};
use super::end::{End, Popped, Pushed, bytes_of};
use crate::sys::socket;

/// How often an async side looks again, letting others run in between, before it arranges to be rung for:
/// while messages stream, ringing costs more than looking.
const PATIENCE: u32 = 100;

/// How long a blocked thread sleeps when somebody else holds a lock it needs.
const BUSY_SLEEP: Duration = Duration::from_micros(50);

#[derive(Debug)]
enum Sleep {
    Asleep,
    LookAgain,
    Closed,
    Failed(String),
}

impl End {
    /// Waits for the message to be sent.
    pub(crate) fn poll_push(&self, cargo: &mut Cargo, cx: &mut Context<'_>) -> Poll<Pushed> {
        let budget = ready!(tokio::task::coop::poll_proceed(cx));
        loop {
            match self.try_push(cargo) {
                Pushed::Full => {}
                Pushed::Busy => return self.yield_now(cx),
                done => {
                    budget.made_progress();
                    return Poll::Ready(done);
                }
            }
            match self.sleep(bytes_of(cargo), cx) {
                Sleep::Asleep => return Poll::Pending,
                Sleep::LookAgain => {}
                Sleep::Closed => return Poll::Ready(Pushed::Closed),
                Sleep::Failed(why) => return Poll::Ready(Pushed::Failed(Refused(why))),
            }
        }
    }

    /// Waits for a message.
    pub(crate) fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Popped> {
        let budget = ready!(tokio::task::coop::poll_proceed(cx));
        loop {
            match self.try_pop() {
                Popped::Empty => {}
                Popped::Busy => return self.yield_now(cx),
                done => {
                    budget.made_progress();
                    return Poll::Ready(done);
                }
            }
            match self.sleep(0, cx) {
                Sleep::Asleep => return Poll::Pending,
                Sleep::LookAgain => {}
                // What was sent before the end is still received.
                Sleep::Closed => match self.try_pop() {
                    Popped::Busy => return self.yield_now(cx),
                    Popped::Empty => return Poll::Ready(Popped::Closed),
                    other => return Poll::Ready(other),
                },
                Sleep::Failed(_) => return Poll::Ready(Popped::Closed),
            }
        }
    }

    /// Waits for any news: for those who look for something else than room or a message.
    pub(crate) fn poll_news(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.hub.poll_news(self.socket.as_fd(), cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Waits until it is closed, or the other side is gone.
    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.is_closed() {
                return Poll::Ready(());
            }
            ready!(self.poll_news(cx));
        }
    }

    fn sleep(&self, wanted: usize, cx: &mut Context<'_>) -> Sleep {
        if self.looks.fetch_add(1, Ordering::Relaxed) < PATIENCE {
            cx.waker().wake_by_ref();
            return Sleep::Asleep;
        }
        match self.hub.poll_news(self.socket.as_fd(), cx) {
            Poll::Ready(Ok(())) => return Sleep::LookAgain,
            Poll::Ready(Err(error)) => return Sleep::Failed(error.to_string()),
            Poll::Pending => {}
        }
        match self.must_wait(wanted) {
            Some(true) if self.is_closed() => Sleep::Closed,
            Some(true) => Sleep::Asleep,
            Some(false) => Sleep::LookAgain,
            None => {
                cx.waker().wake_by_ref();
                Sleep::Asleep
            }
        }
    }

    fn yield_now<T>(&self, cx: &Context<'_>) -> Poll<T> {
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends, blocking this thread until it is done.
    pub(crate) fn push_blocking(&self, cargo: &mut Cargo) -> Pushed {
        loop {
            match self.try_push(cargo) {
                Pushed::Full if self.block(bytes_of(cargo)) => return Pushed::Closed,
                Pushed::Full => {}
                Pushed::Busy => std::thread::sleep(BUSY_SLEEP),
                done => return done,
            }
        }
    }

    /// Receives, blocking this thread until there is something.
    pub(crate) fn pop_blocking(&self) -> Popped {
        loop {
            match self.try_pop() {
                Popped::Empty if self.block(0) => match self.try_pop() {
                    Popped::Empty => return Popped::Closed,
                    Popped::Busy => {}
                    other => return other,
                },
                Popped::Empty => {}
                Popped::Busy => std::thread::sleep(BUSY_SLEEP),
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
        match self.must_wait(wanted) {
            Some(true) if self.is_closed() => return true,
            // It fails only for want of kernel memory; then this loop is a slow one.
            Some(true) => drop(socket::wait_readable(&self.socket, None)),
            Some(false) => {}
            None => std::thread::sleep(BUSY_SLEEP),
        }
        false
    }
}
