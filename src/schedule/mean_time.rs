//! How long a task takes: a moving average, and how many tasks fit into a span of time.

use std::time::Duration;

/// An exponentially weighted mean of the time that tasks took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MeanTime {
    /// In nanoseconds, at least 1; 0 before the first task.
    nanos: f64,
    /// The share of the newest time in the mean, between 0 and 1.
    weight: f64,
}

impl MeanTime {
    /// A mean of no tasks yet, in which the newest time has a share of `weight`.
    pub(crate) const fn new(weight: f64) -> Self {
        Self { nanos: 0.0, weight }
    }

    /// Adds tasks that took `total` together.
    pub(crate) fn add(&mut self, total: Duration, tasks: usize) {
        let each = (nanos(total) as f64 / tasks.max(1) as f64).max(1.0);
        self.nanos = match self.nanos {
            0.0 => each,
            mean => mean.mul_add(1.0 - self.weight, each * self.weight),
        };
    }

    /// The mean, to the nanosecond. `None` before the first task.
    pub(crate) fn get(&self) -> Option<Duration> {
        (self.nanos > 0.0).then(|| Duration::from_nanos(self.nanos as u64))
    }

    /// How many tasks of the mean length fit into `span`. `None` before the first task.
    pub(crate) fn tasks_in(&self, span: Duration) -> Option<usize> {
        let mean = (self.nanos > 0.0).then_some(self.nanos as u64)?;
        Some((nanos(span) / mean.max(1)) as usize)
    }
}

/// A division of 128 bits, as `Duration` has it, would cost as much as the rest of a decision.
fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_of_no_tasks_is_unknown() {
        let mean = MeanTime::new(0.5);
        assert_eq!(mean.get(), None);
        assert_eq!(mean.tasks_in(Duration::from_secs(1)), None);
    }

    #[test]
    fn first_time_is_the_mean_and_later_ones_have_their_weight() {
        let mut mean = MeanTime::new(0.25);
        mean.add(Duration::from_nanos(400), 4);
        assert_eq!(mean.get(), Some(Duration::from_nanos(100)));
        mean.add(Duration::from_nanos(500), 1);
        assert_eq!(mean.get(), Some(Duration::from_nanos(200)));
        assert_eq!(mean.tasks_in(Duration::from_nanos(1_999)), Some(9));
    }

    #[test]
    fn tasks_of_no_length_count_as_a_nanosecond() {
        let mut mean = MeanTime::new(0.5);
        mean.add(Duration::ZERO, 100);
        assert_eq!(mean.tasks_in(Duration::from_nanos(7)), Some(7));
    }
}
