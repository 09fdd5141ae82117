//! Three queues, one for each priority, and whose turn it is.
//!
//! Pure. The highest priority that waits has the turn, but no priority is passed over for ever: while it waits, it has
//! at least one of [`TURNS`] turns.

use std::collections::VecDeque;

use super::Priority;

/// A priority that waits has at least one of so many turns: few enough that a flood of urgent work never stops the
/// rest, and so many that the rest takes little from it.
pub(crate) const TURNS: u32 = 16;

/// How often a priority is passed over before it has the turn. Another may have to be served at the same turn, so it is
/// one less than would do for one.
const MOST_PASSED: u32 = TURNS - 2;

/// How many items an empty queue keeps memory for: what a burst has taken is given back.
const KEPT_CAPACITY: usize = 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct PriorityQueue<T> {
    /// Low first.
    queues: [VecDeque<T>; 3],
    /// How often each was passed over since its last turn.
    passed: [u32; 3],
}

impl<T> Default for PriorityQueue<T> {
    fn default() -> Self {
        Self {
            queues: Default::default(),
            passed: [0; 3],
        }
    }
}

impl<T> PriorityQueue<T> {
    pub(crate) fn push_back(&mut self, item: T, priority: Priority) {
        self.queues[priority as usize].push_back(item);
    }

    pub(crate) fn push_front(&mut self, item: T, priority: Priority) {
        self.queues[priority as usize].push_front(item);
    }

    pub(crate) fn len(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }

    /// All items, those of the highest priority first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.queues.iter().rev().flatten()
    }

    /// Takes all items, those of the highest priority first.
    pub(crate) fn take_all(&mut self) -> Vec<T> {
        let queues = self.queues.iter_mut().rev();
        queues.flat_map(|queue| queue.drain(..)).collect()
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        for queue in &mut self.queues {
            queue.retain(&mut keep);
            queue.shrink_to(2 * queue.len() + KEPT_CAPACITY);
        }
    }

    /// The item that has the turn.
    pub(crate) fn first(&self) -> Option<&T> {
        self.queues[self.turn()?].front()
    }

    /// Takes the item that has the turn.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let turn = self.turn()?;
        let queue = &mut self.queues[turn];
        let item = queue.pop_front();
        if queue.is_empty() && queue.capacity() > KEPT_CAPACITY {
            *queue = VecDeque::new();
        }
        self.count_turn(turn);
        item
    }

    /// Takes the item that has the turn, and does not count the turn: the item is not wanted any more.
    pub(crate) fn discard_first(&mut self) -> Option<T> {
        let turn = self.turn()?;
        self.queues[turn].pop_front()
    }

    /// The priority that has the turn.
    fn turn(&self) -> Option<usize> {
        let waits = |&index: &usize| !self.queues[index].is_empty();
        let overdue = |&index: &usize| self.passed[index] >= MOST_PASSED;
        let longest = (0..3).filter(waits).filter(overdue);
        longest
            .max_by_key(|&index| self.passed[index])
            .or_else(|| (0..3).rev().find(waits))
    }

    fn count_turn(&mut self, turn: usize) {
        for (index, queue) in self.queues.iter().enumerate() {
            let waits = index != turn && !queue.is_empty();
            self.passed[index] = if waits { self.passed[index] + 1 } else { 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Priority; 3] = [Priority::Low, Priority::Normal, Priority::High];

    /// The priorities in the order of their turns, with so many items of each.
    fn turns(counts: [usize; 3]) -> Vec<Priority> {
        let mut queue = PriorityQueue::default();
        for (priority, count) in ALL.into_iter().zip(counts) {
            for _ in 0..count {
                queue.push_back(priority, priority);
            }
        }
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn higher_priority_has_the_turn_while_no_other_waits_long() {
        let expected = [ALL[2], ALL[2], ALL[1], ALL[1], ALL[0], ALL[0]];
        assert_eq!(turns([2, 2, 2]), expected);
    }

    #[test]
    fn priority_that_waits_has_one_of_sixteen_turns() {
        let turns = turns([100, 100, 3_000]);
        for priority in [Priority::Low, Priority::Normal] {
            let last = turns.iter().rposition(|turn| *turn == priority);
            let while_it_waits = &turns[..=last.unwrap()];
            for window in while_it_waits.windows(TURNS as usize) {
                assert!(window.contains(&priority), "{window:?}");
            }
        }
    }

    #[test]
    fn first_item_is_the_one_that_is_taken() {
        let mut queue = PriorityQueue::default();
        for n in 0..100 {
            queue.push_back(n, ALL[n % 3]);
        }
        while let Some(first) = queue.first().copied() {
            assert_eq!(queue.pop(), Some(first));
        }
        assert_eq!(queue.len(), 0);
    }
}
