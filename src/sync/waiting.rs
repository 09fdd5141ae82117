//! Waiting for what an attempt needs, as a task and as a thread.
//!
//! Both try first without a record in the table, then make one, try again, and sleep until the record is changed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::enrolment::Enrolment;
use super::local_side::LocalSide;
use super::party_word::PartyState;
use crate::own_runtime::Timer;
use crate::sys::yields::Yields;

/// How often a poll tries before it lets other tasks run.
const TRIES_IN_A_ROW: usize = 32;

/// How long a party pauses if the table is full. No process rings for that.
const FULL_TABLE_PAUSE: Duration = Duration::from_millis(1);

/// How many pauses a party makes before it checks again whether the table is full of dead parties.
const PAUSES_PER_CHECK: u32 = 250;

/// How often a thread that does not wait lets another thread serve, which may have been stopped.
const MOST_PAUSES_FOR_SERVER: usize = 100;

/// In how many of these pauses the thread yields. In the others it sleeps: yielding does not let a thread run that
/// waits for another processor.
const PAUSES_THAT_YIELD: usize = 80;

/// How long the thread sleeps in a pause.
const SERVER_PAUSE: Duration = Duration::from_micros(100);

/// What a party asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) kind: u8,
    pub(super) amount: u64,
}

/// A task that waits at an object.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    side: &'a Arc<LocalSide>,
    enrolment: Option<Enrolment>,
    refusals: Refusals,
    pause: Option<Pin<Box<Timer>>>,
}

/// How often the table was full.
#[derive(Debug, Default)]
struct Refusals(u32);

impl<'a> Waiting<'a> {
    pub(super) fn new(side: &'a Arc<LocalSide>) -> Self {
        Self {
            side,
            enrolment: None,
            refusals: Refusals::default(),
            pause: None,
        }
    }

    /// Waits until `attempt` returns something. It is told the task's party, if there is one, and takes it when it
    /// ends.
    #[inline]
    pub(super) fn poll<R>(
        &mut self,
        cx: &mut Context<'_>,
        ask: impl Fn() -> Asked,
        mut attempt: impl FnMut(&mut Option<Enrolment>) -> Option<R>,
    ) -> Poll<R> {
        let budget = ready!(tokio::task::coop::poll_proceed(cx));
        let done = match attempt(&mut self.enrolment) {
            Some(done) => done,
            None => ready!(self.poll_slowly(cx, ask, attempt)),
        };
        budget.made_progress();
        Poll::Ready(done)
    }

    fn poll_slowly<R>(
        &mut self,
        cx: &mut Context<'_>,
        ask: impl Fn() -> Asked,
        mut attempt: impl FnMut(&mut Option<Enrolment>) -> Option<R>,
    ) -> Poll<R> {
        for _ in 0..TRIES_IN_A_ROW {
            match &mut self.enrolment {
                Some(enrolment) => ready!(enrolment.poll_change(cx)),
                None => ready!(self.poll_enrol(cx, &ask)),
            }
            if let Some(done) = attempt(&mut self.enrolment) {
                return Poll::Ready(done);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_enrol(&mut self, cx: &mut Context<'_>, ask: &impl Fn() -> Asked) -> Poll<()> {
        loop {
            self.enrolment = self.refusals.enrol(self.side, ask(), false);
            if self.enrolment.is_some() {
                self.pause = None;
                return Poll::Ready(());
            }
            let begin = || Box::pin(Timer::after(FULL_TABLE_PAUSE));
            ready!(self.pause.get_or_insert_with(begin).as_mut().poll(cx));
            self.pause = None;
        }
    }
}

/// As [`Waiting::poll`], blocking this thread.
pub(super) fn block<R>(
    side: &Arc<LocalSide>,
    ask: impl Fn() -> Asked,
    mut attempt: impl FnMut(&mut Option<Enrolment>) -> Option<R>,
) -> R {
    let mut enrolment = None;
    let mut refusals = Refusals::default();
    loop {
        if let Some(done) = attempt(&mut enrolment) {
            return done;
        }
        match &mut enrolment {
            Some(enrolment) => enrolment.block(),
            None => {
                enrolment = refusals.enrol(side, ask(), true);
                if enrolment.is_none() {
                    std::thread::sleep(FULL_TABLE_PAUSE);
                }
            }
        }
    }
}

impl LocalSide {
    /// Makes a request and has it served at once; returns what became of it. Dropping the enrolment ends the request.
    pub(super) fn try_now(self: &Arc<Self>, asked: Asked) -> Option<(PartyState, Enrolment)> {
        let enrolment = self.enrol_or_make_room(asked, false)?;
        for checks_liveness in [false, true] {
            let is_waiting = || enrolment.state() == Some(PartyState::Waiting);
            self.serve_until(checks_liveness, || !is_waiting());
            if !is_waiting() {
                break;
            }
        }
        Some((enrolment.state()?, enrolment))
    }

    /// Serves requests. If another thread is serving, it does it for this one, which waits a little for that, or until
    /// `is_decided`.
    pub(super) fn serve_until(&self, checks_liveness: bool, is_decided: impl Fn() -> bool) {
        let mut yields = Yields::default();
        for pause in 0..MOST_PAUSES_FOR_SERVER {
            if is_decided() || self.serve(checks_liveness) {
                return;
            }
            match pause < PAUSES_THAT_YIELD && !yields.have_taken_long() {
                true => yields.yield_now(),
                false => std::thread::sleep(SERVER_PAUSE),
            }
        }
    }

    /// As `enrol`. If the table is full, its dead parties make room: they may have died when no process waited.
    fn enrol_or_make_room(self: &Arc<Self>, asked: Asked, is_thread: bool) -> Option<Enrolment> {
        let enrol = || self.enrol(asked.kind, asked.amount, is_thread);
        enrol().or_else(|| {
            self.memory.expect_records_anywhere();
            self.serve(true);
            enrol()
        })
    }
}

impl Refusals {
    fn enrol(&mut self, side: &Arc<LocalSide>, asked: Asked, is_thread: bool) -> Option<Enrolment> {
        let enrolment = match self.0 % PAUSES_PER_CHECK {
            0 => side.enrol_or_make_room(asked, is_thread),
            _ => side.enrol(asked.kind, asked.amount, is_thread),
        };
        if enrolment.is_none() {
            self.0 = self.0.wrapping_add(1);
        } else if side.memory.kind().is_served_at_once() {
            side.serve(false);
        }
        enrolment
    }
}
