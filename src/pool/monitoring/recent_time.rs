//! How much of the last seconds something took.
//!
//! Lives in the application; pure. Spans of time are added when they end, to one counter for each second, so that
//! adding a short span costs a few instructions.

use std::time::Duration;

use crate::sys::clock::Moment;

/// The length of the window.
pub(in crate::pool) const WINDOW: Duration = Duration::from_secs(10);

const SECOND: u64 = 1_000_000_000;

/// The seconds of the window, and the current second.
const SLOTS: usize = 11;

/// The sum of spans of time in the last ten seconds, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::pool) struct RecentTime {
    slots: [u64; SLOTS],
    /// The newest second, whose slot is its number modulo the number of slots.
    newest: u64,
}

impl RecentTime {
    /// Adds a span of time that ends now.
    #[inline]
    pub(in crate::pool) fn add(&mut self, span: Duration, now: Moment) {
        let end = now.to_bits();
        self.advance(end / SECOND);
        let nanos = u64::try_from(span.min(WINDOW).as_nanos()).unwrap_or(0);
        let begin = end.saturating_sub(nanos);
        let mut to = end;
        while to > begin {
            let second = (to - 1) / SECOND;
            let from = begin.max(second * SECOND);
            self.slots[second as usize % SLOTS] += to - from;
            to = from;
        }
    }

    /// The sum of the parts that lie in the window which ends now.
    pub(in crate::pool) fn total(mut self, now: Moment) -> Duration {
        self.advance(now.to_bits() / SECOND);
        // Of the oldest second a part has left the window. Its spans are taken for even.
        let oldest = self.slots[(self.newest as usize + 1) % SLOTS];
        let left = (now.to_bits() % SECOND) as f64 / SECOND as f64;
        let sum: u64 = self.slots.iter().sum();
        Duration::from_nanos(sum - (oldest as f64 * left) as u64)
    }

    /// Forgets what has left the window.
    fn advance(&mut self, second: u64) {
        let passed = second.saturating_sub(self.newest).min(SLOTS as u64);
        for ago in 0..passed {
            self.slots[(second - ago) as usize % SLOTS] = 0;
        }
        self.newest = self.newest.max(second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::default().plus(Duration::from_millis(millis))
    }

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn spans_count_while_they_are_in_the_window() {
        let mut time = RecentTime::default();
        time.add(500 * MILLI, at(100_700));
        time.add(1500 * MILLI, at(102_100));
        assert_eq!(time.total(at(102_100)), 2000 * MILLI);
        assert_eq!(time.total(at(109_900)), 2000 * MILLI);
        assert_eq!(
            time.total(at(112_000)),
            100 * MILLI,
            "all before the second 102 is out"
        );
        assert_eq!(time.total(at(200_000)), Duration::ZERO);
    }

    #[test]
    fn longer_span_than_the_window_counts_as_the_window() {
        let mut time = RecentTime::default();
        time.add(Duration::MAX, at(100_000));
        assert_eq!(time.total(at(100_000)), WINDOW);
        time.add(Duration::from_secs(3), at(1_000));
        assert!(time.total(at(100_000)) >= WINDOW);
    }

    #[test]
    fn oldest_second_leaves_the_window_bit_by_bit() {
        let mut time = RecentTime::default();
        time.add(1000 * MILLI, at(101_000));
        assert_eq!(time.total(at(110_000)), 1000 * MILLI);
        assert_eq!(time.total(at(110_500)), 500 * MILLI);
        assert_eq!(time.total(at(111_000)), Duration::ZERO);
    }
}
