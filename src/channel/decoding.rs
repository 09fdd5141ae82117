//! Long messages that a receiver has a thread decode, because decoding would block a runtime.
//!
//! Runs in the receiving process. Of a message that is in shared memory of its own the thread decodes what was
//! received. A message in the channel's memory is received by the thread too: copying it out takes long. What must stay
//! true: the messages are handed out in the order in which they were received, and an entry does not stay `Decoding`
//! when its thread has ended.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use super::attempt::{Attempt, Taken};
use super::flavor::Flavor;
use super::message::Incoming;
use super::patience::RETRY_INTERVAL;
use crate::sys::buffer::StackBuf;
use crate::threads;

/// How often a thread tries to take a message that another receiver may be taking.
const TAKE_ATTEMPTS: usize = 100;

/// Long messages that were received and are being decoded. The next receive takes the first of them.
pub(super) struct DecodeQueue<T> {
    entries: Mutex<VecDeque<(u64, DecodeState<T>)>>,
    /// Whether there are entries. Looking at this first saves the lock, which costs as much as receiving does.
    has_entries: AtomicBool,
}

pub(super) enum DecodeState<T> {
    /// A thread takes or decodes it.
    Decoding,
    /// No thread has decoded it.
    Undecoded(Incoming),
    Decoded(Result<T, String>),
    /// There was no message after all.
    Nothing,
}

/// The first entry of the queue is still being decoded.
pub(super) struct StillDecoding;

/// Decodes a long message on a thread that may block.
pub(super) fn start<T: DeserializeOwned + Send + 'static, F: Flavor>(
    queue: &Arc<DecodeQueue<T>>,
    flavor: &Arc<F>,
    incoming: Incoming,
) {
    let job = DecodeJob {
        incoming: Some(incoming),
        number: queue.push(),
        queue: Arc::clone(queue),
        flavor: Arc::downgrade(flavor),
    };
    threads::spawn(Handle::try_current().ok(), move || job.run());
}

/// Takes and decodes the next message on a thread that may block.
pub(super) fn start_taking<T: DeserializeOwned + Send + 'static, F: Flavor>(
    queue: &Arc<DecodeQueue<T>>,
    flavor: &Arc<F>,
) {
    let mut job = DecodeJob {
        incoming: None,
        number: queue.push(),
        queue: Arc::clone(queue),
        flavor: Arc::downgrade(flavor),
    };
    threads::spawn(Handle::try_current().ok(), move || {
        match job.take() {
            Some(incoming) => job.incoming = Some(incoming),
            None => job.queue.set(job.number, DecodeState::Nothing),
        }
        job.run();
    });
}

/// Wakes a sender that waits for the memory of a long message.
pub(super) fn ring_for_memory<F: Flavor>(flavor: &F) {
    let _ = flavor.end().ring();
}

impl<T> Default for DecodeQueue<T> {
    fn default() -> Self {
        Self {
            entries: Mutex::default(),
            has_entries: AtomicBool::new(false),
        }
    }
}

impl<T> DecodeQueue<T> {
    fn entries(&self) -> MutexGuard<'_, VecDeque<(u64, DecodeState<T>)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an entry that is being decoded; returns its number.
    fn push(&self) -> u64 {
        let mut entries = self.entries();
        let number = entries.back().map_or(0, |(last, _)| last + 1);
        entries.push_back((number, DecodeState::Decoding));
        self.has_entries.store(true, Ordering::Release);
        number
    }

    fn set(&self, number: u64, state: DecodeState<T>) {
        let mut entries = self.entries();
        let entry = entries.iter_mut().find(|(other, _)| *other == number);
        if let Some((_, there)) = entry {
            *there = state;
        }
    }

    /// Whether there may be entries.
    #[inline]
    pub(super) fn has_entries(&self) -> bool {
        self.has_entries.load(Ordering::Acquire)
    }

    /// Removes the first entry, if there is one and it is no longer being decoded.
    pub(super) fn take(&self) -> Result<Option<DecodeState<T>>, StillDecoding> {
        let mut entries = self.entries();
        if let Some((_, DecodeState::Decoding)) = entries.front() {
            return Err(StillDecoding);
        }
        let first = entries.pop_front();
        self.has_entries
            .store(!entries.is_empty(), Ordering::Release);
        Ok(first.map(|(_, state)| state))
    }
}

/// A long message on the thread that decodes it, or on the way there.
struct DecodeJob<T, F: Flavor> {
    incoming: Option<Incoming>,
    number: u64,
    queue: Arc<DecodeQueue<T>>,
    flavor: Weak<F>,
}

impl<T: DeserializeOwned, F: Flavor> DecodeJob<T, F> {
    /// Takes the next message out of the channel, however long it is.
    fn take(&self) -> Option<Incoming> {
        let flavor = self.flavor.upgrade()?;
        let mut buf = StackBuf::new();
        for _ in 0..TAKE_ATTEMPTS {
            match flavor.try_pop(&mut buf, usize::MAX) {
                Attempt::Done(Taken::Long(incoming)) => return Some(*incoming),
                Attempt::Done(Taken::Short) => {
                    return Some(Incoming::short(buf.bytes().to_vec(), None));
                }
                Attempt::Busy => std::thread::sleep(RETRY_INTERVAL),
                Attempt::NotNow | Attempt::Closed | Attempt::Elsewhere => return None,
            }
        }
        None
    }

    fn run(mut self) {
        if let Some(incoming) = self.incoming.take() {
            let decoded = incoming.decode();
            self.queue.set(self.number, DecodeState::Decoded(decoded));
        }
    }
}

impl<T, F: Flavor> Drop for DecodeJob<T, F> {
    fn drop(&mut self) {
        let undecoded = self.incoming.take();
        let is_decoded = undecoded.is_none();
        // The runtime shuts down. The next receive decodes the message.
        if let Some(incoming) = undecoded {
            self.queue
                .set(self.number, DecodeState::Undecoded(incoming));
        }
        if let Some(flavor) = self.flavor.upgrade() {
            flavor.end().wake_all();
            if is_decoded {
                ring_for_memory(&*flavor);
            }
        }
    }
}
