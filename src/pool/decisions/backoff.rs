//! The wait between two tries of an item, and the tasks that wait so.
//!
//! Lives in the parent; pure. The waits grow by a factor and are jittered, so that items which failed together do not
//! run together again ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015: the variant "equal jitter").

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::schedule::TaskKey;
use crate::sys::clock::Moment;

/// No wait is longer, whatever the factor.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// A larger factor is no number, or has no use.
const MOST_FACTOR: f64 = 1e6;

/// How long an item waits before it is tried again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::pool) struct Backoff {
    /// The wait before the next try, in seconds, without jitter.
    next: f64,
    factor: f64,
}

impl Backoff {
    pub(in crate::pool) fn new(first: Duration, factor: f64) -> Self {
        Self {
            next: first.min(LONGEST_WAIT).as_secs_f64(),
            // A factor below 1, or none, would be a mistake that floods.
            factor: if factor >= 1.0 {
                factor.min(MOST_FACTOR)
            } else {
                1.0
            },
        }
    }

    /// Takes the wait before the next try: from half of it to all of it, as `random` bits say.
    pub(in crate::pool) fn take(&mut self, random: u64) -> Duration {
        let longest = LONGEST_WAIT.as_secs_f64();
        let part = 0.5 + random as f64 / u64::MAX as f64 / 2.0;
        let wait = self.next * part;
        self.next = (self.next * self.factor).min(longest);
        Duration::from_secs_f64(wait.clamp(0.0, longest))
    }
}

/// Tasks that wait until a moment, the first of them on top. A task that was cancelled meanwhile has no record.
pub(in crate::pool) type Delayed = BinaryHeap<Reverse<(Moment, TaskKey)>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_jittered_by_half() {
        let second = Duration::from_secs(1);
        let mut whole = Backoff::new(second, 3.0);
        assert_eq!(
            [(); 3].map(|()| whole.take(u64::MAX)),
            [1, 3, 9].map(Duration::from_secs)
        );
        let mut half = Backoff::new(2 * second, 1.0);
        assert_eq!([(); 2].map(|()| half.take(0)), [second; 2]);
    }

    #[test]
    fn wait_has_a_bound_and_no_factor_makes_it_shorter() {
        let mut long = Backoff::new(Duration::MAX, f64::INFINITY);
        assert_eq!([(); 3].map(|()| long.take(u64::MAX)), [LONGEST_WAIT; 3]);
        for factor in [0.1, f64::NAN, -1.0] {
            let mut same = Backoff::new(Duration::from_secs(1), factor);
            assert_eq!(
                [(); 2].map(|()| same.take(u64::MAX)),
                [Duration::from_secs(1); 2]
            );
        }
        let mut none = Backoff::new(Duration::ZERO, f64::INFINITY);
        assert_eq!([(); 2].map(|()| none.take(7)), [Duration::ZERO; 2]);
    }
}
