//! What a pool has done so far.

use std::time::Duration;

/// Counts of a pool at one moment.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    pub(super) workers: usize,
    pub(super) busy: usize,
    pub(super) queued: usize,
    pub(super) running: usize,
    pub(super) counts: Counts,
}

/// What only ever grows.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub(super) completed: u64,
    pub(super) failed: u64,
    pub(super) crashed: u64,
    pub(super) timed_out: u64,
    pub(super) cancelled: u64,
    pub(super) retried: u64,
    pub(super) recycled: u64,
    pub(super) wait_time: Histogram,
    pub(super) run_time: Histogram,
}

impl Metrics {
    /// Workers that are ready or starting.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Workers that run something.
    pub fn busy(&self) -> usize {
        self.busy
    }

    /// Tasks that wait for a worker. Items of a map that were read and not sent count one by batch.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Tasks that were given to a worker and have no outcome.
    pub fn running(&self) -> usize {
        self.running
    }

    /// Calls that returned a value, every item of a map for itself.
    pub fn completed(&self) -> u64 {
        self.counts.completed
    }

    /// Calls that gave an error of any kind but the following three.
    pub fn failed(&self) -> u64 {
        self.counts.failed
    }

    /// Calls whose worker crashed or exited.
    pub fn crashed(&self) -> u64 {
        self.counts.crashed
    }

    /// Calls whose time was over.
    pub fn timed_out(&self) -> u64 {
        self.counts.timed_out
    }

    /// Calls that were aborted, or whose future was dropped.
    pub fn cancelled(&self) -> u64 {
        self.counts.cancelled
    }

    /// Calls that were run again after their worker had died.
    pub fn retried(&self) -> u64 {
        self.counts.retried
    }

    /// Workers that were replaced for their age or size.
    pub fn recycled(&self) -> u64 {
        self.counts.recycled
    }

    /// How long tasks waited from their submission to their end, less what they ran. Batches of a
    /// map count as one.
    pub fn wait_time(&self) -> Histogram {
        self.counts.wait_time.clone()
    }

    /// How long tasks ran. Batches of a map count as one.
    pub fn run_time(&self) -> Histogram {
        self.counts.run_time.clone()
    }
}

/// Buckets per doubling. Eight keep the error of a percentile below 10 %.
const STEPS: usize = 8;
/// From a nanosecond to half a century.
const BUCKETS: usize = 61 * STEPS;

/// How often which durations occurred, each within 10 %.
///
/// Log-linear buckets, as in HdrHistogram (Gil Tene).
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

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The duration that `percent` of all are not above; zero if there are none.
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
    fn percentiles_are_within_a_tenth() {
        let mut histogram = Histogram::default();
        for micros in 1..=1000_u64 {
            histogram.add(Duration::from_micros(micros));
        }
        for (percent, expected) in [(50.0, 500.0), (99.0, 990.0), (100.0, 1000.0)] {
            let found = histogram.percentile(percent).as_secs_f64() * 1e6;
            let off = (found - expected).abs() / expected;
            assert!(off < 0.13, "{percent}: {found} is not {expected}");
        }
        assert_eq!(Histogram::default().percentile(50.0), Duration::ZERO);
    }

    #[test]
    fn every_duration_has_a_bucket() {
        let mut histogram = Histogram::default();
        for nanos in [0, 1, 2, 3, 7, 8, u64::MAX] {
            histogram.add(Duration::from_nanos(nanos));
        }
        assert_eq!(histogram.count(), 7);
    }
}
