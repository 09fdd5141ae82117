//! Until when waiting tasks must have started, and which of them have not.
//!
//! Lives in the application; pure. A deadline is not removed when its task has started or ended: it is skipped when its
//! time comes, or when there are many such.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::sys::clock::Moment;

/// Deadlines that nothing waits for any more are removed when there are so many of them, and as many as others.
const MOST_LEFT_OVER: usize = 64;

/// See the module.
#[derive(Debug)]
pub(in crate::pool) struct Deadlines<K>(BinaryHeap<Reverse<(Moment, K)>>);

impl<K: Ord> Default for Deadlines<K> {
    fn default() -> Self {
        Self(BinaryHeap::new())
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    /// Adds the deadline of `key`. At most `waiting` keys have a deadline that counts; `waits` says which.
    pub(in crate::pool) fn add(
        &mut self,
        at: Moment,
        key: K,
        waiting: usize,
        waits: impl Fn(K) -> bool,
    ) {
        if self.0.len() > MOST_LEFT_OVER + 2 * waiting {
            self.0.retain(|Reverse((_, key))| waits(*key));
        }
        self.0.push(Reverse((at, key)));
    }

    /// The first deadline that counts.
    pub(in crate::pool) fn first(&mut self, waits: impl Fn(K) -> bool) -> Option<Moment> {
        while let Some(&Reverse((at, key))) = self.0.peek() {
            if waits(key) {
                return Some(at);
            }
            self.0.pop();
        }
        None
    }

    /// Takes a key whose deadline is over.
    pub(in crate::pool) fn pop_over(&mut self, now: Moment) -> Option<K> {
        let Reverse((at, _)) = self.0.peek()?;
        if *at > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, key))| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u64) -> Moment {
        Moment::from_bits(n)
    }

    #[test]
    fn deadlines_come_in_order_and_those_left_over_are_skipped() {
        let mut it = Deadlines::default();
        for n in [5, 3, 9, 1] {
            it.add(at(n), n, 4, |_| true);
        }
        assert_eq!(it.first(|key| key != 1), Some(at(3)));
        assert_eq!(it.pop_over(at(2)), None);
        assert_eq!((it.pop_over(at(5)), it.pop_over(at(5))), (Some(3), Some(5)));
        assert_eq!(it.pop_over(at(5)), None);
    }

    #[test]
    fn deadlines_left_over_do_not_pile_up() {
        let mut it = Deadlines::default();
        for n in 0..100_000 {
            it.add(at(n), n, 1, |key| key + 1 >= n);
        }
        assert!(it.0.len() <= 2 * MOST_LEFT_OVER, "{}", it.0.len());
    }
}
