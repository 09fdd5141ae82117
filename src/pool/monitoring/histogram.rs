//! A distribution of durations.
//!
//! Lives in the application. The buckets are those of HdrHistogram (Gil Tene), by the crate of that name, which is no
//! part of the interface.

use std::fmt;
use std::time::Duration;

/// The digits of a duration that are kept: two make buckets that are narrower than 1 % (of 128 a doubling).
const DIGITS: u8 = 2;

/// The longest duration that is told from longer ones, in nanoseconds: about 52 days.
const LONGEST: u64 = (1 << 52) - 1;

/// A distribution of durations. A percentile of it is at most 1 % too large, and never too small.
///
/// Durations are counted to the nanosecond; those of more than 52 days count as 52 days.
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
    counts: hdrhistogram::Histogram<u64>,
    /// In nanoseconds. The buckets know these three to 1 % only.
    sum: u64,
    min: u64,
    max: u64,
}

impl Histogram {
    /// Adds a duration. Does not allocate: all buckets are there.
    pub(in crate::pool) fn add(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(LONGEST);
        let nanos = nanos.min(LONGEST);
        self.counts.saturating_record(nanos);
        self.sum = self.sum.saturating_add(nanos);
        self.min = self.min.min(nanos);
        self.max = self.max.max(nanos);
    }

    /// The number of durations.
    pub fn count(&self) -> u64 {
        self.counts.len()
    }

    /// The shortest duration. Zero if there are none.
    pub fn min(&self) -> Duration {
        Duration::from_nanos(self.min.min(self.max))
    }

    /// The longest duration. Zero if there are none.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// The mean of all durations. Zero if there are none.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.sum.checked_div(self.count()).unwrap_or(0))
    }

    /// The smallest duration that at least `percent` per cent of the durations do not exceed. Zero if there are none.
    ///
    /// `percent` is between 0 and 100; values outside are clamped.
    pub fn percentile(&self, percent: f64) -> Duration {
        if self.count() == 0 {
            return Duration::ZERO;
        }
        let found = self
            .counts
            .value_at_quantile(percent.clamp(0.0, 100.0) / 100.0);
        Duration::from_nanos(found.clamp(self.min, self.max))
    }
}

impl Default for Histogram {
    fn default() -> Self {
        let counts = hdrhistogram::Histogram::new_with_bounds(1, LONGEST, DIGITS);
        Self {
            // It fails only for other bounds and digits than these.
            counts: counts.expect("the bounds of a histogram are right"),
            sum: 0,
            min: u64::MAX,
            max: 0,
        }
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count())
            .field("mean", &self.mean())
            .field("p50", &self.percentile(50.0))
            .field("p99", &self.percentile(99.0))
            .field("max", &self.max())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the sorted durations themselves.
        #[test]
        fn percentile_is_at_most_one_per_cent_too_large(
            mut nanos in proptest::collection::vec(0_u64..=LONGEST, 1..200),
            shift in 0_u32..50,
            percent in 0.0_f64..=100.0,
        ) {
            let mut histogram = Histogram::default();
            for it in &mut nanos {
                *it >>= shift;
                histogram.add(Duration::from_nanos(*it));
            }
            nanos.sort_unstable();
            let rank = (percent / 100.0 * nanos.len() as f64).ceil().max(1.0) as usize;
            let expected = nanos[rank.min(nanos.len()) - 1] as f64;
            let found = histogram.percentile(percent).as_nanos() as f64;
            prop_assert!(found >= expected && found <= expected * 1.01, "{} is not {}", found, expected);
            prop_assert_eq!(histogram.min().as_nanos(), u128::from(nanos[0]));
            prop_assert_eq!(histogram.max().as_nanos(), u128::from(nanos[nanos.len() - 1]));
            let sum = nanos.iter().fold(0_u64, |sum, it| sum.saturating_add(*it));
            prop_assert_eq!(histogram.mean().as_nanos(), u128::from(sum / nanos.len() as u64));
        }
    }

    #[test]
    fn histogram_of_nothing_is_zero() {
        let histogram = Histogram::default();
        assert_eq!(histogram.count(), 0);
        let all = [
            histogram.min(),
            histogram.max(),
            histogram.mean(),
            histogram.percentile(50.0),
        ];
        assert_eq!(all, [Duration::ZERO; 4]);
    }

    #[test]
    fn extreme_durations_are_counted() {
        let mut histogram = Histogram::default();
        for duration in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            histogram.add(duration);
        }
        assert_eq!(histogram.count(), 3);
        assert_eq!(histogram.max(), Duration::from_nanos(LONGEST));
        assert_eq!(
            histogram.percentile(f64::NAN).max(histogram.max()),
            histogram.max()
        );
    }
}
