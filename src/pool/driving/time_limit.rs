//! When the time of the task at the front of a worker's ring is over.
//!
//! Lives in the application; pure. The worker stamps the start of every item into the ring, so that the time before the
//! start does not count. A corrupted worker may stamp anything. So a start in the future counts as now, and the start
//! of a single call counts as it was seen first. A worker that stamps nothing, or again and again, has [`EXTRA_TIME`]
//! more than all its items may take. A task whose outcomes have all arrived is not late: its worker has [`EXTRA_TIME`]
//! to drop the result and to say that it has finished.

use std::time::Duration;

use crate::sys::clock::Moment;

/// How long a worker may take beside the time of its items: longer than any machine takes to let a process run that is
/// not stopped.
const EXTRA_TIME: Duration = Duration::from_secs(5);

/// What is known of the task, whose time is limited in one way at least.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct FrontTask {
    /// The time that each item may take.
    pub(in crate::pool) timeout: Option<Duration>,
    /// The time that it may take without a sign of life.
    pub(in crate::pool) progress_timeout: Option<Duration>,
    /// The last sign of life, as the worker says. It may be of an earlier task.
    pub(in crate::pool) sign: Moment,
    /// The start of the running item, as the worker says.
    pub(in crate::pool) started: Option<Moment>,
    /// The items without outcome, and since when the worker has nothing else to do. `None` if it has.
    pub(in crate::pool) due: Option<(usize, Moment)>,
}

impl FrontTask {
    /// When the time of the running item is over, as far as is known now.
    pub(in crate::pool) fn ends(self, now: Moment) -> Moment {
        if let Some((0, since)) = self.due {
            return since.plus(EXTRA_TIME);
        }
        let started = self.started.map_or(now, |started| started.min(now));
        let sign = self.sign.min(now).max(started);
        let by_sign = self.progress_timeout.map(|limit| sign.plus(limit));
        let by_worker = self.timeout.map(|limit| started.plus(limit));
        let ends = by_sign.into_iter().chain(by_worker).chain(self.last_end());
        // Without any limit it would be never.
        ends.min().unwrap_or(now)
    }

    /// Whether the task would be over its limit if it had started at once, and the worker does not say that it has
    /// started.
    pub(in crate::pool) fn is_late(self, now: Moment) -> bool {
        let limits = self.timeout.into_iter().chain(self.progress_timeout);
        let should_end = self.due.zip(limits.min());
        let should_end = should_end.map(|((_, since), limit)| since.plus(limit));
        self.started.is_none() && should_end.is_some_and(|end| end <= now)
    }

    /// Whether the time of all its items is over, and the worker has not said that it has started one.
    pub(in crate::pool) fn is_ignored(self, now: Moment) -> bool {
        self.started.is_none() && self.last_end().is_some_and(|end| end <= now)
    }

    /// When the time of all its items is over, whatever the worker says. Signs of life may put the end off for ever.
    fn last_end(self) -> Option<Moment> {
        let (items, since) = self.due?;
        let items = u32::try_from(items).unwrap_or(u32::MAX);
        let unstarted = self.progress_timeout.filter(|_| self.started.is_none());
        let limit = self.timeout.into_iter().chain(unstarted).min()?;
        Some(since.plus(limit.saturating_mul(items)).plus(EXTRA_TIME))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Moment {
        Moment::default().plus(Duration::from_secs(seconds))
    }

    fn front(started: Option<u64>, items: usize, since: u64) -> FrontTask {
        FrontTask {
            timeout: Some(LIMIT),
            progress_timeout: None,
            sign: Moment::default(),
            started: started.map(at),
            due: Some((items, at(since))),
        }
    }

    #[test]
    fn time_counts_from_the_start() {
        assert_eq!(front(Some(10), 1, 9).ends(at(10)), at(11));
        assert_eq!(front(None, 1, 10).ends(at(12)), at(13));
    }

    #[test]
    fn start_in_the_future_counts_as_now() {
        assert_eq!(front(Some(u64::MAX >> 34), 1, 10).ends(at(11)), at(12));
    }

    #[test]
    fn worker_that_stamps_nothing_or_again_and_again_has_a_bound() {
        assert_eq!(front(None, 1, 10).ends(at(17)), at(16));
        assert_eq!(front(Some(19), 3, 10).ends(at(19)), at(18));
        assert!(front(None, 1, 10).is_ignored(at(16)));
        assert!(!front(None, 1, 10).is_ignored(at(15)));
        assert!(!front(Some(15), 1, 10).is_ignored(at(16)));
    }

    #[test]
    fn task_that_has_not_started_is_late_after_its_limit() {
        assert!(!front(None, 3, 10).is_late(at(10)));
        assert!(front(None, 3, 10).is_late(at(11)));
        assert!(!front(Some(10), 3, 10).is_late(at(12)));
    }

    #[test]
    fn worker_whose_outcomes_have_arrived_is_not_late() {
        assert_eq!(front(Some(10), 0, 11).ends(at(12)), at(16));
        assert_eq!(front(None, 0, 11).ends(at(12)), at(16));
        let silent = FrontTask {
            timeout: None,
            progress_timeout: Some(LIMIT),
            ..front(Some(10), 0, 11)
        };
        assert_eq!(silent.ends(at(12)), at(16));
    }

    #[test]
    fn worker_that_has_something_else_to_do_has_no_bound() {
        let waiting = FrontTask {
            due: None,
            ..front(None, 1, 0)
        };
        assert_eq!(waiting.ends(at(100)), at(101));
    }

    #[test]
    fn sign_of_life_puts_the_end_off_and_no_sign_is_in_the_future() {
        let silent = FrontTask {
            timeout: None,
            progress_timeout: Some(LIMIT),
            ..front(Some(10), 1, 9)
        };
        assert_eq!(silent.ends(at(10)), at(11));
        let signs = |sign| FrontTask { sign, ..silent };
        assert_eq!(signs(at(5)).ends(at(12)), at(11));
        assert_eq!(signs(at(12)).ends(at(12)), at(13));
        assert_eq!(signs(at(100)).ends(at(100)), at(101));
        assert_eq!(signs(Moment::from_bits(u64::MAX)).ends(at(12)), at(13));
        let both = FrontTask {
            timeout: Some(4 * LIMIT),
            ..signs(at(20))
        };
        assert_eq!(both.ends(at(20)), at(14));
    }

    #[test]
    fn worker_that_stamps_nothing_has_a_bound_for_signs_of_life_too() {
        let unstarted = FrontTask {
            timeout: None,
            progress_timeout: Some(LIMIT),
            ..front(None, 1, 10)
        };
        assert_eq!(unstarted.ends(at(17)), at(16));
        assert!(unstarted.is_ignored(at(16)) && !unstarted.is_ignored(at(15)));
    }
}
