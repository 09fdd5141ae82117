//! Counts of what a pool does and has done.
//!
//! Lives in the parent.

use std::time::Duration;

use crate::error::ErrorKind;

/// The counts of a pool at the moment of [`Pool::metrics`](crate::Pool::metrics).
///
/// Calls count one by one: every item of a map is a call. Tasks count as they are sent to workers: a batch of map
/// items is one task.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    pub(super) workers: usize,
    pub(super) busy: usize,
    pub(super) queued: usize,
    pub(super) running: usize,
    pub(super) queued_bytes: u64,
    pub(super) counts: Counts,
}

/// The counts that never decrease.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub(super) completed: u64,
    pub(super) failed: u64,
    pub(super) crashed: u64,
    pub(super) timed_out: u64,
    pub(super) cancelled: u64,
    pub(super) retried: u64,
    pub(super) corrupted: u64,
    pub(super) recycled: u64,
    pub(super) wait_time: Histogram,
    pub(super) run_time: Histogram,
}

impl Counts {
    /// Counts calls that ended with an error of this kind.
    pub(super) fn add_failed(&mut self, kind: ErrorKind, calls: u64) {
        match kind {
            ErrorKind::Cancelled => {
                self.cancelled += calls;
                return;
            }
            ErrorKind::Crashed | ErrorKind::Exited => self.crashed += calls,
            ErrorKind::TimedOut => self.timed_out += calls,
            _ => {}
        }
        self.failed += calls;
    }
}

impl Metrics {
    /// The number of workers that are ready or starting.
    ///
    /// A replacement that waits for a recycled worker to finish its last task does not count.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The number of workers that run a task.
    pub fn busy(&self) -> usize {
        self.busy
    }

    /// The number of tasks that wait for a worker. A batch of map items that waits counts as one task.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// How many bytes the encoded arguments of all tasks have that wait: for a worker, or behind another task in one.
    ///
    /// This is what [`queue_bytes`](crate::PoolBuilder::queue_bytes) limits.
    pub fn queued_bytes(&self) -> u64 {
        self.queued_bytes
    }

    /// The number of tasks that were sent to a worker and have no outcome.
    ///
    /// A few tasks are sent ahead to every worker, so this may be larger than [`Metrics::busy`].
    pub fn running(&self) -> usize {
        self.running
    }

    /// The number of calls that returned a value.
    pub fn completed(&self) -> u64 {
        self.counts.completed
    }

    /// The number of calls that ended with any error except [`ErrorKind::Cancelled`].
    ///
    /// The calls that [`crashed`](Self::crashed) and [`timed_out`](Self::timed_out) count are among them.
    pub fn failed(&self) -> u64 {
        self.counts.failed
    }

    /// The number of calls whose worker crashed or exited while it ran them. [`failed`](Self::failed) counts them too.
    pub fn crashed(&self) -> u64 {
        self.counts.crashed
    }

    /// The number of calls that ran longer than their time limit. [`failed`](Self::failed) counts them too.
    pub fn timed_out(&self) -> u64 {
        self.counts.timed_out
    }

    /// The number of calls that were aborted, or whose future was dropped before they had an outcome.
    pub fn cancelled(&self) -> u64 {
        self.counts.cancelled
    }

    /// The number of times that a call was run again because its worker crashed or exited.
    pub fn retried(&self) -> u64 {
        self.counts.retried
    }

    /// The number of workers that were killed because they wrote what no worker writes into the memory or the socket
    /// that they share with the application: a library in them, or an attacker, has overwritten it.
    ///
    /// The call that such a worker ran ends as [`ErrorKind::Crashed`]. No other call is affected.
    pub fn corrupted(&self) -> u64 {
        self.counts.corrupted
    }

    /// The number of workers that were replaced although nothing was wrong with them: because of
    /// [`max_tasks_per_worker`](crate::PoolBuilder::max_tasks_per_worker),
    /// [`max_worker_memory`](crate::PoolBuilder::max_worker_memory),
    /// [`max_worker_age`](crate::PoolBuilder::max_worker_age) or
    /// [`restart_workers`](crate::Pool::restart_workers).
    pub fn recycled(&self) -> u64 {
        self.counts.recycled
    }

    /// The times between the submission and the end of finished tasks, without the time they ran.
    pub fn wait_time(&self) -> Histogram {
        self.counts.wait_time.clone()
    }

    /// The times that finished tasks ran.
    pub fn run_time(&self) -> Histogram {
        self.counts.run_time.clone()
    }
}

/// Buckets per doubling of the duration. With eight, a bucket is at most 12.5 % wide.
const STEPS: usize = 8;
/// The buckets reach from a nanosecond to half a century.
const BUCKETS: usize = 61 * STEPS;

/// A distribution of durations. A percentile of it is at most 12.5 % too large.
///
/// The durations are counted in log-linear buckets, as in HdrHistogram (Gil Tene).
///
/// ```
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = procession::Pool::with_workers(1)?;
/// pool.run(|| (), ()).await?;
/// let run_time = pool.metrics().run_time();
/// println!("{} tasks, 99 % of them within {:?}", run_time.count(), run_time.percentile(99.0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
}

impl Histogram {
    pub(super) fn add(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos())
            .unwrap_or(u64::MAX)
            .max(1);
        self.buckets[bucket(nanos)] += 1;
        self.count += 1;
    }

    /// The number of durations.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The smallest duration that at least `percent` per cent of the durations do not exceed. Zero if there are none.
    ///
    /// `percent` is between 0 and 100; values outside are clamped.
    pub fn percentile(&self, percent: f64) -> Duration {
        let wanted = (self.count as f64 * percent.clamp(0.0, 100.0) / 100.0).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return Duration::from_nanos(upper(index));
            }
        }
        Duration::ZERO
    }
}

fn bucket(nanos: u64) -> usize {
    let doubling = nanos.ilog2() as usize;
    let step = match doubling {
        0..3 => (nanos << (3 - doubling)) as usize & (STEPS - 1),
        _ => (nanos >> (doubling - 3)) as usize & (STEPS - 1),
    };
    (doubling * STEPS + step).min(BUCKETS - 1)
}

fn upper(bucket: usize) -> u64 {
    let (doubling, step) = (bucket / STEPS, (bucket % STEPS) as u64);
    let base = 1_u128 << doubling;
    let above = base + base * (u128::from(step) + 1) / STEPS as u128;
    u64::try_from(above.saturating_sub(1).max(1)).unwrap_or(u64::MAX)
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS].into_boxed_slice(),
            count: 0,
        }
    }
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count)
            .field("p50", &self.percentile(50.0))
            .field("p99", &self.percentile(99.0))
            .field("max", &self.percentile(100.0))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_is_within_an_eighth() {
        let mut histogram = Histogram::default();
        for micros in 1..=1000_u64 {
            histogram.add(Duration::from_micros(micros));
        }
        for (percent, expected) in [(50.0, 500.0), (99.0, 990.0), (100.0, 1000.0)] {
            let found = histogram.percentile(percent).as_secs_f64() * 1e6;
            let off = (found - expected).abs() / expected;
            assert!(off <= 0.125, "{percent}: {found} is not {expected}");
        }
        assert_eq!(Histogram::default().percentile(50.0), Duration::ZERO);
    }

    #[test]
    fn extreme_durations_have_a_bucket() {
        let mut histogram = Histogram::default();
        for nanos in [0, 1, 2, 3, 7, 8, u64::MAX] {
            histogram.add(Duration::from_nanos(nanos));
        }
        assert_eq!(histogram.count(), 7);
    }
}
