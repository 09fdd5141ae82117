//! Who may add a task to a queue that has limits, and in which order.
//!
//! Lives in the application, under the core's lock. A call that finds no room waits here before its arguments are
//! encoded. When there is room, the first that waits gets a place, which it fills with its task or gives back. A future
//! that is not polled does neither: after [`OFFERED_FOR`] its place goes to the next, and its next poll begins a wait
//! before all others.
//!
//! Must stay true: a place that was given is counted until it is filled or given back; what waits is served in order
//! within a priority, and the priorities as in the [`schedule`](crate::schedule). Never here: how much room there is.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use slab::Slab;

use super::deadlines::Deadlines;
use crate::error::ErrorKind;
use crate::schedule::{Priority, PriorityQueue};
use crate::sys::clock::Moment;

/// Entries of waits that are over may stay in the queue until their turn comes, if as many others wait.
const MOST_STALE: usize = 64;

/// How long a place is kept for a future that was woken for it: longer than a loaded executor takes to poll it, and
/// short enough for what waits behind it.
const OFFERED_FOR: Duration = Duration::from_millis(20);

/// Finds a wait for as long as it is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::pool) struct WaitKey {
    index: usize,
    serial: u64,
}

/// What a place is needed for.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct Need {
    pub(in crate::pool) priority: Priority,
    /// How long the encoded arguments are; 0 if that is not known.
    pub(in crate::pool) bytes: u64,
    /// When the wait is over, with or without a place.
    pub(in crate::pool) start_by: Option<Moment>,
}

/// How a wait stands.
#[derive(Debug)]
pub(in crate::pool) enum WaitStatus {
    Waits,
    /// It is over: the place is counted from now on, with so many bytes.
    HasPlace(u64),
    /// It is over: it had a place for too long without a poll. It must begin again.
    Lapsed(Need),
    /// It is over without a place.
    Refused(ErrorKind),
}

#[derive(Debug)]
struct Wait {
    serial: u64,
    need: Need,
    waker: Option<Waker>,
    stage: WaitStage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WaitStage {
    Queued,
    /// It has a place that it was not polled for yet.
    Offered,
    Lapsed,
    Refused(ErrorKind),
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::pool) struct Admission {
    waits: Slab<Wait>,
    queue: PriorityQueue<WaitKey>,
    /// How many in `waits` are queued.
    waiting: usize,
    /// The waits that have a place, from the first on, and since when. Some may be over.
    offered: VecDeque<(WaitKey, Moment)>,
    deadlines: Deadlines<WaitKey>,
    serial: u64,
    places: usize,
    bytes: u64,
}

/// Places.
impl Admission {
    /// Places that were given and are not filled.
    pub(in crate::pool) fn places(&self) -> usize {
        self.places
    }

    /// The bytes for which they were given.
    pub(in crate::pool) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives a place for `bytes`.
    pub(in crate::pool) fn give(&mut self, bytes: u64) {
        self.places += 1;
        self.bytes += bytes;
    }

    /// A place that was given for `bytes` is filled, or given back.
    pub(in crate::pool) fn take_back(&mut self, bytes: u64) {
        self.places = self.places.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Waits.
impl Admission {
    /// Whether anything waits for a place.
    pub(in crate::pool) fn has_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Begins a wait behind those of its priority, or before them if it has waited already.
    pub(in crate::pool) fn wait(&mut self, need: Need, waker: Waker, has_waited: bool) -> WaitKey {
        self.serial += 1;
        let serial = self.serial;
        let index = self.waits.insert(Wait {
            serial,
            need,
            waker: Some(waker),
            stage: WaitStage::Queued,
        });
        let key = WaitKey { index, serial };
        self.waiting += 1;
        if let Some(at) = need.start_by {
            let waits = &self.waits;
            let waiting = waits.len();
            let is_queued = |key| is_queued(waits, key);
            self.deadlines.add(at, key, waiting, is_queued);
        }
        match has_waited {
            true => self.queue.push_front(key, need.priority),
            false => self.queue.push_back(key, need.priority),
        }
        key
    }

    /// How a wait stands. If it continues, `waker` is woken at its end, and the waker before is left in its place.
    pub(in crate::pool) fn poll(&mut self, key: WaitKey, waker: &mut Option<Waker>) -> WaitStatus {
        let Some(wait) = self.get_mut(key) else {
            return WaitStatus::Refused(ErrorKind::Closed);
        };
        let (stage, need) = (wait.stage, wait.need);
        if stage == WaitStage::Queued {
            std::mem::swap(&mut wait.waker, waker);
            return WaitStatus::Waits;
        }
        self.waits.remove(key.index);
        match stage {
            WaitStage::Offered => WaitStatus::HasPlace(need.bytes),
            WaitStage::Refused(kind) => WaitStatus::Refused(kind),
            WaitStage::Lapsed | WaitStage::Queued => WaitStatus::Lapsed(need),
        }
    }

    /// Ends a wait, and takes back the place that it was given. Returns its waker, which is dropped where no lock is
    /// held.
    #[must_use]
    pub(in crate::pool) fn leave(&mut self, key: WaitKey) -> Option<Waker> {
        self.get_mut(key)?;
        let wait = self.waits.try_remove(key.index)?;
        match wait.stage {
            WaitStage::Queued => {
                self.waiting -= 1;
                self.forget_stale();
            }
            WaitStage::Offered => self.take_back(wait.need.bytes),
            WaitStage::Lapsed | WaitStage::Refused(_) => {}
        }
        wait.waker
    }

    /// What the wait needs whose turn it is.
    pub(in crate::pool) fn next(&mut self) -> Option<Need> {
        while let Some(&first) = self.queue.first() {
            match self.get_mut(first) {
                Some(wait) if wait.stage == WaitStage::Queued => return Some(wait.need),
                _ => self.queue.discard_first(),
            };
        }
        None
    }

    /// Gives the wait whose turn it is its place. Returns its waker, to be woken where no lock is held.
    #[must_use]
    pub(in crate::pool) fn admit_next(&mut self, now: Moment) -> Option<Waker> {
        let bytes = self.next()?.bytes;
        let key = self.queue.pop()?;
        self.give(bytes);
        self.offered.push_back((key, now));
        self.unqueue(key, WaitStage::Offered)
    }

    /// Takes back the place that was given longest ago, if that is too long.
    pub(in crate::pool) fn lapse(&mut self, now: Moment) -> bool {
        if self.next_lapse().is_none_or(|at| at > now) {
            return false;
        }
        let Some((key, _)) = self.offered.pop_front() else {
            return false;
        };
        let Some(wait) = self.get_mut(key) else {
            return false;
        };
        wait.stage = WaitStage::Lapsed;
        let bytes = wait.need.bytes;
        self.take_back(bytes);
        true
    }

    /// When a place is taken back, if something waits for it.
    pub(in crate::pool) fn next_lapse(&mut self) -> Option<Moment> {
        while let Some((key, since)) = self.offered.front().copied() {
            let is_offered = self.get_mut(key).is_some();
            if is_offered {
                return Some(since.plus(OFFERED_FOR)).filter(|_| self.has_waiting());
            }
            self.offered.pop_front();
        }
        None
    }

    /// When the first wait is over without a place.
    pub(in crate::pool) fn next_deadline(&mut self) -> Option<Moment> {
        let waits = &self.waits;
        self.deadlines.first(|key| is_queued(waits, key))
    }

    /// Ends the waits whose time is over. Returns their wakers, to be woken where no lock is held.
    #[must_use]
    pub(in crate::pool) fn expire(&mut self, now: Moment) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while let Some(key) = self.deadlines.pop_over(now) {
            wakers.extend(self.unqueue(key, WaitStage::Refused(ErrorKind::TimedOut)));
            self.forget_stale();
        }
        wakers
    }

    /// Ends all waits without a place. Returns their wakers, to be woken where no lock is held.
    #[must_use]
    pub(in crate::pool) fn refuse_all(&mut self, kind: ErrorKind) -> Vec<Waker> {
        let keys = self.queue.take_all();
        let keys = keys.into_iter();
        keys.filter_map(|key| self.unqueue(key, WaitStage::Refused(kind)))
            .collect()
    }

    fn unqueue(&mut self, key: WaitKey, stage: WaitStage) -> Option<Waker> {
        let wait = self.get_mut(key);
        let wait = wait.filter(|wait| wait.stage == WaitStage::Queued)?;
        wait.stage = stage;
        let waker = wait.waker.take();
        self.waiting -= 1;
        waker
    }

    fn get_mut(&mut self, key: WaitKey) -> Option<&mut Wait> {
        let wait = self.waits.get_mut(key.index)?;
        (wait.serial == key.serial).then_some(wait)
    }

    /// While there is no room, waits that are over must not pile up.
    fn forget_stale(&mut self) {
        let stale = self.queue.len().saturating_sub(self.waiting);
        if stale > MOST_STALE && stale > self.waiting {
            let waits = &self.waits;
            self.queue.retain(|key| is_queued(waits, *key));
        }
    }
}

fn is_queued(waits: &Slab<Wait>, key: WaitKey) -> bool {
    let wait = waits.get(key.index);
    wait.is_some_and(|wait| wait.serial == key.serial && wait.stage == WaitStage::Queued)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_bits(millis * 1_000_000)
    }

    /// Begins a wait for these bytes.
    fn begin(admission: &mut Admission, bytes: u64) -> WaitKey {
        let priority = Priority::Normal;
        let need = Need {
            priority,
            bytes,
            start_by: None,
        };
        admission.wait(need, Waker::noop().clone(), false)
    }

    fn poll(admission: &mut Admission, key: WaitKey) -> WaitStatus {
        admission.poll(key, &mut None)
    }

    #[test]
    fn place_is_counted_until_it_is_given_back() {
        let mut it = Admission::default();
        let keys: Vec<_> = (1..=3).map(|bytes| begin(&mut it, bytes)).collect();
        assert!(it.admit_next(at(0)).is_some() && it.admit_next(at(0)).is_some());
        assert_eq!((it.places(), it.bytes()), (2, 3));
        assert!(matches!(poll(&mut it, keys[1]), WaitStatus::HasPlace(2)));
        assert!(it.leave(keys[0]).is_none());
        it.take_back(2);
        assert_eq!((it.places(), it.bytes()), (0, 0));
        assert!(it.leave(keys[2]).is_some() && !it.has_waiting());
        assert!(it.admit_next(at(0)).is_none());
    }

    #[test]
    fn place_of_a_future_that_is_not_polled_goes_to_the_next() {
        let mut it = Admission::default();
        let keys: Vec<_> = (0..2).map(|_| begin(&mut it, 5)).collect();
        assert!(it.admit_next(at(0)).is_some());
        assert_eq!(it.next_lapse(), Some(at(20)));
        assert!(!it.lapse(at(19)) && it.lapse(at(20)));
        assert_eq!((it.places(), it.bytes()), (0, 0));
        assert!(it.admit_next(at(20)).is_some());
        assert!(matches!(poll(&mut it, keys[0]), WaitStatus::Lapsed(_)));
        assert!(matches!(poll(&mut it, keys[1]), WaitStatus::HasPlace(5)));
        assert_eq!(it.next_lapse(), None, "nothing waits");
    }

    #[test]
    fn waits_that_are_over_do_not_pile_up() {
        let mut it = Admission::default();
        let first = begin(&mut it, 0);
        for _ in 0..10_000 {
            let key = begin(&mut it, 0);
            assert!(it.leave(key).is_some());
        }
        assert!(it.queue.len() <= 2 * MOST_STALE, "{}", it.queue.len());
        assert_eq!(it.refuse_all(ErrorKind::Closed).len(), 1);
        assert!(matches!(poll(&mut it, first), WaitStatus::Refused(_)));
    }
}
