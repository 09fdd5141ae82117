//! How many workers a pool has, and after what they are replaced.
//!
//! Lives in the application; pure.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::time::Duration;

/// How long work should last that is worth another worker: longer than it takes to fork one.
const WORTH_A_START: Duration = Duration::from_millis(2);

/// The most workers of a pool: a larger number is a mistake, or stands for "as many as possible", which no machine has
/// room for.
pub(in crate::pool) const MOST_WORKERS: usize = 1 << 15;

/// How long a worker is idle before it ends, if the pool does not choose.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many workers a builder was told to have.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::pool) struct ChosenBounds {
    pub(in crate::pool) min: Option<usize>,
    pub(in crate::pool) max: Option<usize>,
    pub(in crate::pool) idle_timeout: Option<Duration>,
}

impl ChosenBounds {
    /// The bounds, where `default` gives the number of workers that was left open.
    ///
    /// # Errors
    ///
    /// No pool has so many workers, or the bounds exclude each other.
    pub(in crate::pool) fn resolve(
        self,
        default: impl FnOnce() -> io::Result<usize>,
    ) -> io::Result<WorkerBounds> {
        let invalid = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        let (min, max) = match (self.min, self.max) {
            (Some(min), Some(max)) => (min, max.max(1)),
            (None, Some(max)) => (1, max.max(1)),
            (Some(min), None) => (min, default()?.clamp(1, MOST_WORKERS).max(min)),
            (None, None) => {
                let workers = default()?.clamp(1, MOST_WORKERS);
                (workers, workers)
            }
        };
        if max > MOST_WORKERS {
            return invalid(format!(
                "a pool has at most {MOST_WORKERS} workers, not {max}"
            ));
        } else if min > max {
            return invalid(format!(
                "a pool cannot have at least {min} and at most {max} workers"
            ));
        }
        Ok(WorkerBounds {
            min,
            max,
            idle_timeout: self.idle_timeout.unwrap_or(IDLE_TIMEOUT),
        })
    }
}

/// How many workers a pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) struct WorkerBounds {
    pub(in crate::pool) min: usize,
    pub(in crate::pool) max: usize,
    /// How long a worker is idle before it ends, if there are more than `min`.
    pub(in crate::pool) idle_timeout: Duration,
}

/// What there is to do, in tasks.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct WorkerDemand {
    /// Workers that have tasks.
    pub(in crate::pool) busy: usize,
    /// Tasks that wait.
    pub(in crate::pool) waiting: usize,
    /// How long a task runs, if that is known.
    pub(in crate::pool) mean: Option<Duration>,
}

impl WorkerBounds {
    /// Whether the number of workers follows from the work.
    pub(in crate::pool) fn is_elastic(self) -> bool {
        self.min < self.max
    }

    /// How many workers there should be at least.
    pub(in crate::pool) fn wanted(self, demand: WorkerDemand) -> usize {
        let wanted = match demand.waiting {
            0 => demand.busy,
            waiting => demand.busy + worth_workers(waiting, demand.mean, demand.busy),
        };
        wanted.clamp(self.min, self.max)
    }
}

/// How many more workers these waiting tasks are worth, beside the `busy` workers.
fn worth_workers(waiting: usize, mean: Option<Duration>, busy: usize) -> usize {
    let Some(mean) = mean else {
        return waiting;
    };
    let work = mean.saturating_mul(u32::try_from(waiting).unwrap_or(u32::MAX));
    let worth = work.as_nanos() / WORTH_A_START.as_nanos();
    let worth = usize::try_from(worth).unwrap_or(usize::MAX);
    // Without any worker the shortest task would wait for ever.
    worth.min(waiting).max(usize::from(busy == 0))
}

/// After what a worker is replaced.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::pool) struct WorkerLimits {
    pub(in crate::pool) tasks: Option<u64>,
    /// In bytes, beyond the worker's memory at its start.
    pub(in crate::pool) memory: Option<u64>,
    pub(in crate::pool) age: Option<Duration>,
}

impl WorkerLimits {
    /// How old one worker may become: up to a tenth less than the limit, so that workers which were started together
    /// are not replaced together.
    pub(in crate::pool) fn age_of_one(self) -> Option<Duration> {
        let limit = self.age?;
        // Each `RandomState` has another key.
        let random = RandomState::new().build_hasher().finish();
        let share = random as f64 / u64::MAX as f64;
        Some(limit.saturating_sub((limit / 10).mul_f64(share.clamp(0.0, 1.0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: WorkerBounds = WorkerBounds {
        min: 1,
        max: 8,
        idle_timeout: Duration::ZERO,
    };

    fn wanted(busy: usize, waiting: usize, mean: Option<Duration>) -> usize {
        BOUNDS.wanted(WorkerDemand {
            busy,
            waiting,
            mean,
        })
    }

    #[test]
    fn workers_grow_with_the_work_between_the_bounds() {
        assert_eq!(wanted(0, 0, None), 1);
        assert_eq!(wanted(1, 3, None), 4);
        assert_eq!(wanted(3, 100, None), 8);
        assert_eq!(wanted(1, 3, Some(Duration::from_secs(1))), 4);
    }

    #[test]
    fn short_tasks_are_worth_no_worker_unless_there_are_many_or_there_is_none() {
        let short = Some(Duration::from_micros(10));
        assert_eq!(wanted(1, 50, short), 1);
        assert_eq!(wanted(1, 700, short), 4);
        let none = WorkerBounds { min: 0, ..BOUNDS };
        let demand = |waiting| WorkerDemand {
            busy: 0,
            waiting,
            mean: short,
        };
        assert_eq!(none.wanted(demand(1)), 1);
        assert_eq!(none.wanted(demand(0)), 0);
    }

    #[test]
    fn bounds_that_exclude_each_other_are_refused() {
        let resolve = |min, max| {
            let chosen = ChosenBounds {
                min,
                max,
                idle_timeout: None,
            };
            let bounds = chosen.resolve(|| Ok(4)).map_err(|error| error.kind());
            bounds.map(|it| (it.min, it.max))
        };
        assert_eq!(resolve(None, None), Ok((4, 4)));
        assert_eq!(resolve(Some(6), None), Ok((6, 6)));
        assert_eq!(resolve(Some(0), None), Ok((0, 4)));
        assert_eq!(resolve(None, Some(8)), Ok((1, 8)));
        assert_eq!(resolve(Some(0), Some(0)), Ok((0, 1)));
        for (min, max) in [(3, 2), (0, MOST_WORKERS + 1)] {
            let refused = Err(io::ErrorKind::InvalidInput);
            assert_eq!(resolve(Some(min), Some(max)), refused);
        }
    }

    #[test]
    fn ages_differ_by_a_tenth_at_most() {
        let limits = WorkerLimits {
            age: Some(Duration::from_secs(100)),
            ..WorkerLimits::default()
        };
        let ages: Vec<_> = (0..50).filter_map(|_| limits.age_of_one()).collect();
        let range = Duration::from_secs(90)..=Duration::from_secs(100);
        assert!(ages.iter().all(|age| range.contains(age)), "{ages:?}");
        assert!(ages.iter().any(|age| *age != ages[0]));
    }
}
