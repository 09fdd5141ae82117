//! A message of more than 1 MiB that a thread copies into the channel's memory, because copying would block a runtime.
//!
//! Runs in the sending process. The thread holds the senders' lock while it copies, and commits the message. A send
//! that is dropped meanwhile withdraws the message, unless the thread commits it at that moment.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use super::attempt::{Attempt, Pushed};
use super::flavor::Flavor;
use super::message::Outgoing;
use super::patience::RETRY_INTERVAL;
use crate::threads;
use crate::threads::Running;

/// How often the thread tries to take the senders' lock.
const SPILL_ATTEMPTS: usize = 100;

const IS_WANTED: u32 = 0;
const IS_COMMITTED: u32 = 1;
const IS_WITHDRAWN: u32 = 2;

/// A message on a thread, or on the way there. Dropping this withdraws it.
pub(super) struct Spilling {
    state: Arc<AtomicU32>,
    running: Running<(Pushed, Outgoing)>,
}

impl Spilling {
    pub(super) fn start<F: Flavor>(flavor: &Arc<F>, outgoing: Outgoing) -> Self {
        let state = Arc::new(AtomicU32::new(IS_WANTED));
        let (flavor, shared) = (Arc::clone(flavor), Arc::clone(&state));
        let running = threads::run(move || (spill(&*flavor, &outgoing, &shared), outgoing));
        Self { state, running }
    }

    /// Waits for what came of it. The message is returned, because the attempt may have found no room.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Pushed, Outgoing)>> {
        let done = ready!(Pin::new(&mut self.running).poll(cx));
        Poll::Ready(done.ok())
    }
}

impl Drop for Spilling {
    fn drop(&mut self) {
        decide(&self.state, IS_WITHDRAWN);
    }
}

fn spill<F: Flavor>(flavor: &F, outgoing: &Outgoing, state: &AtomicU32) -> Pushed {
    for _ in 0..SPILL_ATTEMPTS {
        if state.load(Ordering::Acquire) == IS_WITHDRAWN {
            return Attempt::Closed;
        }
        match flavor.try_spill(outgoing, usize::MAX, || decide(state, IS_COMMITTED)) {
            Attempt::Busy => std::thread::sleep(RETRY_INTERVAL),
            done => return done,
        }
    }
    Attempt::NotNow
}

/// True if nothing else was decided before.
fn decide(state: &AtomicU32, what: u32) -> bool {
    let decided = state.compare_exchange(IS_WANTED, what, Ordering::AcqRel, Ordering::Acquire);
    decided.is_ok()
}
