//! How many spares are worth having: pure counting, told what time it is.

use std::time::Duration;

use crate::sys::clock::Moment;

/// Starts closer together than this are in quick succession, and spares exit when there was none for so long. Long
/// beside a start, so that it pays; short beside the patience of a test that looks for leftover processes.
pub(super) const QUICK_SUCCESSION: Duration = Duration::from_millis(20);

/// So many bursts in quick succession make the next one likely.
const BURSTS_UNTIL_LIKELY: u32 = 3;

/// The most spares. Each takes a third of a mebibyte.
const MOST_SPARES: usize = 8;

/// The recent demand for children. A burst is the requests that overlap each other.
#[derive(Debug, Default)]
pub(super) struct Demand {
    /// Requests whose child does not exist yet.
    open: usize,
    /// The requests of this burst.
    burst: usize,
    /// Bursts in a row that began in quick succession.
    bursts: u32,
    /// The largest burst in that row.
    largest_burst: usize,
    /// When the last burst ended.
    ended: Option<Moment>,
}

impl Demand {
    /// A child is asked for.
    pub(super) fn begin(&mut self, now: Moment) {
        if self.open == 0 {
            self.begin_burst(now);
        }
        self.open += 1;
        self.burst += 1;
        self.largest_burst = self.largest_burst.max(self.burst);
    }

    fn begin_burst(&mut self, now: Moment) {
        let is_quick = |ended| now.since(ended) < QUICK_SUCCESSION;
        self.burst = 0;
        match self.ended.is_some_and(is_quick) {
            true => self.bursts = self.bursts.saturating_add(1),
            false => (self.bursts, self.largest_burst) = (0, 0),
        }
    }

    /// A request has its child, or was given up.
    pub(super) fn end(&mut self, now: Moment) {
        self.open -= 1;
        if self.open == 0 {
            self.ended = Some(now);
        }
    }

    /// Whether spares should be forked now: another burst is likely, and no request would have to wait for them.
    pub(super) fn wants_spares(&self) -> bool {
        self.open == 0 && self.bursts >= BURSTS_UNTIL_LIKELY
    }

    /// How many spares there should be: one more than the largest burst, which gets ready while the others are taken.
    pub(super) fn spares_wanted(&self) -> usize {
        (self.largest_burst + 1).min(MOST_SPARES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    fn at(millis: u64) -> Moment {
        Moment::from_bits((1000 + millis) * MILLISECOND)
    }

    /// Bursts of `size` requests, which begin at these milliseconds and last one.
    fn after_bursts(size: usize, starts: &[u64]) -> Demand {
        let mut demand = Demand::default();
        for start in starts {
            (0..size).for_each(|_| demand.begin(at(*start)));
            (0..size).for_each(|_| demand.end(at(start + 1)));
        }
        demand
    }

    #[test]
    fn spares_are_wanted_after_bursts_in_quick_succession() {
        assert!(!after_bursts(1, &[0, 5, 10]).wants_spares());
        assert!(after_bursts(1, &[0, 5, 10, 15]).wants_spares());
    }

    #[test]
    fn pause_ends_quick_succession() {
        let demand = after_bursts(3, &[0, 5, 10, 15, 36]);
        assert!(!demand.wants_spares());
        assert_eq!(demand.spares_wanted(), 3 + 1);
        assert_eq!(after_bursts(1, &[0, 5, 100]).spares_wanted(), 2);
    }

    #[test]
    fn open_request_delays_spares() {
        let mut demand = after_bursts(1, &[0, 5, 10, 15]);
        demand.begin(at(20));
        assert!(!demand.wants_spares());
        demand.end(at(21));
        assert!(demand.wants_spares());
    }

    #[test]
    fn spares_wanted_is_one_more_than_the_largest_burst_up_to_a_limit() {
        assert_eq!(after_bursts(1, &[0, 5]).spares_wanted(), 2);
        assert_eq!(after_bursts(4, &[0, 5]).spares_wanted(), 5);
        assert_eq!(after_bursts(100, &[0, 5]).spares_wanted(), MOST_SPARES);
    }
}
