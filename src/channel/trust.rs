//! Whether the memory of a channel makes sense, and what an end has told its users about that.
//!
//! Runs in every process that has an end. An end that finds what cannot be marks the channel as overwritten, for all
//! processes: each receiving end tells its users once, and then that the channel is closed. Sending ends say it in
//! every error. What must stay true: no end reports the end of an overwritten channel as if all had been received.
//! Never here: what can be; the readers of the ring, the frames and the socket know that.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::transfer::nonsense::Nonsense;

/// The states of a channel's closing word. Every other value was written by a corrupted process.
const STILL_OPEN: u32 = 0;
const WAS_CLOSED: u32 = 1;
const WAS_OVERWRITTEN: u32 = 2;

const FOUND_ELSEWHERE: Nonsense = Nonsense("another process with an end has found it");

/// What one end knows about nonsense in its channel.
#[derive(Debug, Default)]
pub(super) struct Trust {
    found: OnceLock<Nonsense>,
    is_told: AtomicBool,
}

impl Trust {
    /// This end has found what cannot be. The first finding counts.
    pub(super) fn lose(&self, nonsense: Nonsense, closed: &AtomicU32) {
        self.found.get_or_init(|| nonsense);
        closed.store(WAS_OVERWRITTEN, Ordering::Release);
    }

    /// Why the channel has ended, if that is because it was overwritten. `closed` is its closing word. Warns once.
    ///
    /// Not under a lock: a subscriber of `tracing` may run any code.
    pub(super) fn nonsense(&self, closed: &AtomicU32) -> Option<Nonsense> {
        self.check(closed).map(|(nonsense, _)| nonsense)
    }

    /// The same, once.
    pub(super) fn tell_once(&self, closed: &AtomicU32) -> Option<Nonsense> {
        self.check(closed)
            .and_then(|(nonsense, is_first)| is_first.then_some(nonsense))
    }

    #[cold]
    fn check(&self, closed: &AtomicU32) -> Option<(Nonsense, bool)> {
        if [STILL_OPEN, WAS_CLOSED].contains(&closed.load(Ordering::Acquire)) {
            return None;
        }
        let nonsense = *self.found.get_or_init(|| FOUND_ELSEWHERE);
        let is_first = !self.is_told.swap(true, Ordering::Relaxed);
        #[cfg(feature = "tracing")]
        if is_first {
            tracing::warn!("a queue or pipe was overwritten, and has ended: {nonsense}");
        }
        Some((nonsense, is_first))
    }
}

/// Whether a closing word says that the channel has ended.
#[inline]
pub(super) fn has_ended(closed: &AtomicU32) -> bool {
    closed.load(Ordering::Acquire) != STILL_OPEN
}

/// Marks a channel as closed, unless it has ended before.
pub(super) fn mark_closed(closed: &AtomicU32) {
    let _ = closed.compare_exchange(STILL_OPEN, WAS_CLOSED, Ordering::AcqRel, Ordering::Acquire);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_channel_is_not_taken_for_an_overwritten_one() {
        let (trust, closed) = (Trust::default(), AtomicU32::new(STILL_OPEN));
        assert_eq!(trust.tell_once(&closed), None);
        mark_closed(&closed);
        assert!(has_ended(&closed));
        assert_eq!(trust.tell_once(&closed), None);
    }

    #[test]
    fn every_end_of_an_overwritten_channel_tells_once() {
        let (finder, other, closed) = (Trust::default(), Trust::default(), AtomicU32::new(0));
        let nonsense = Nonsense("a frame is square");
        finder.lose(nonsense, &closed);
        finder.lose(Nonsense("a frame is round"), &closed);
        mark_closed(&closed);
        assert_eq!(finder.tell_once(&closed), Some(nonsense));
        assert_eq!(finder.tell_once(&closed), None);
        assert_eq!(finder.nonsense(&closed), Some(nonsense));
        assert_eq!(other.tell_once(&closed), Some(FOUND_ELSEWHERE));
        assert_eq!(other.tell_once(&closed), None);
    }

    #[test]
    fn random_closing_word_is_nonsense() {
        let (trust, closed) = (Trust::default(), AtomicU32::new(0xdead_beef));
        assert!(has_ended(&closed));
        assert!(trust.tell_once(&closed).is_some());
    }
}
