//! A flag that can be waited for.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use super::enrolment::Enrolment;
use super::event_serving;
use super::event_serving::EventWord;
use super::handle::handle_of;
use super::local_side::LocalSide;
use super::object_kind::ObjectKind;
use super::party_word::PartyState;
use super::waiting::{Asked, Waiting, block};

/// A flag that any process can set and clear, and that any number of tasks, threads and processes wait for.
///
/// A handle can be cloned, and sent to another process inside an argument, a result or a message; all handles are the
/// same flag. [`set`](Self::set) ends all waits that have begun, also if the flag is cleared at once. A process that
/// ends while it waits, or while it sets the flag, hinders no other.
///
/// ```
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession::sync::Event;
///
///
/// let begin = Event::new()?;
/// let worker = procession::spawn(|begin: Event| async move { begin.wait().await }, begin.clone());
/// begin.set();
/// worker.await?;
/// assert!(begin.is_set());
/// # Ok(())
/// # }
/// ```
pub struct Event {
    side: Arc<LocalSide>,
}

impl Event {
    /// Makes a flag that is not set.
    ///
    /// # Errors
    ///
    /// The kernel has no memory or descriptors left, or this process has no `/proc`.
    pub fn new() -> io::Result<Self> {
        let side = LocalSide::create(ObjectKind::Event, 0, 0)?;
        Ok(Self { side })
    }

    /// Sets the flag: all that wait continue, and others do not wait until it is cleared.
    pub fn set(&self) {
        event_serving::change(&self.side, EventWord::set);
        self.side.serve(false);
    }

    /// Clears the flag.
    pub fn clear(&self) {
        event_serving::change(&self.side, EventWord::cleared);
    }

    /// Whether the flag is set.
    pub fn is_set(&self) -> bool {
        self.word().is_set()
    }

    /// Waits until the flag is set.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub fn wait(&self) -> impl Future<Output = ()> + Send + Unpin + use<'_> {
        EventWait {
            event: self,
            waiting: Waiting::new(&self.side),
        }
    }

    /// As [`wait`](Self::wait), blocking this thread. Not for async code.
    pub fn blocking_wait(&self) {
        block(&self.side, || self.asked(), |party| self.attempt(party));
    }

    fn word(&self) -> EventWord {
        EventWord::from_bits(self.side.memory.state().load(Ordering::SeqCst))
    }

    /// What a party that begins to wait now waits for.
    fn asked(&self) -> Asked {
        Asked {
            kind: 0,
            amount: self.word().begins_wait(),
        }
    }

    fn attempt(&self, party: &mut Option<Enrolment>) -> Option<()> {
        let word = self.word();
        let since = party.as_ref().map(|party| party.party().amount);
        if !word.ends_wait(since.unwrap_or(word.times_set())) {
            // A party whose record was overwritten begins anew.
            let is_waiting = |party: &Enrolment| party.state() == Some(PartyState::Waiting);
            if !party.as_ref().is_some_and(is_waiting) {
                *party = None;
            }
            return None;
        }
        *party = None;
        Some(())
    }
}

/// Ready when the flag was set.
struct EventWait<'a> {
    event: &'a Event,
    waiting: Waiting<'a>,
}

impl Future for EventWait<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let event = self.event;
        let waiting = &mut self.waiting;
        waiting.poll(cx, || event.asked(), |party| event.attempt(party))
    }
}

handle_of!(Event, ObjectKind::Event);

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("is_set", &self.is_set())
            .finish()
    }
}
