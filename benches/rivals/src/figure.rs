//! Figures: percentiles of samples, and numbers as a person reads them.

/// What a sample counts, always in the SI unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    PerSecond,
    Bytes,
    Times,
    Count,
}

impl Unit {
    /// Whether less is better.
    pub(crate) fn lower_is_better(self) -> bool {
        match self {
            Unit::Seconds | Unit::Bytes | Unit::Count => true,
            Unit::PerSecond | Unit::Times => false,
        }
    }

    /// `value` with three digits that count and the unit behind it.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Unit::Seconds if value < 1e-3 => format!("{} µs", digits(value * 1e6)),
            Unit::Seconds => format!("{} ms", digits(value * 1e3)),
            Unit::PerSecond if value < 1e6 => format!("{} k/s", digits(value / 1e3)),
            Unit::PerSecond => format!("{} M/s", digits(value / 1e6)),
            Unit::Bytes if value < 1024.0 => format!("{} B", digits(value)),
            Unit::Bytes => format!("{} MiB", digits(value / f64::from(1 << 20))),
            Unit::Times => format!("{} x", digits(value)),
            Unit::Count => format!("{value:.0}"),
        }
    }
}

/// The `percent`-th percentile of `samples`, by nearest rank; the median of an even number is the
/// mean of the middle two. `None` without samples.
pub(crate) fn percentile(samples: &[f64], percent: f64) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    if percent == 50.0 {
        return Some(f64::midpoint(sorted[last / 2], sorted[sorted.len() / 2]));
    }
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    Some(sorted[rank.clamp(1, sorted.len()) - 1])
}

/// A ratio, in as many places as it needs.
pub(crate) fn ratio(value: f64) -> String {
    digits(value)
}

/// Three digits that count, never an exponent.
fn digits(value: f64) -> String {
    match value.abs() {
        small if small < 0.01 => format!("{value:.4}"),
        small if small < 1.0 => format!("{value:.3}"),
        small if small < 10.0 => format!("{value:.2}"),
        small if small < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let samples: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(percentile(&samples, 99.0), Some(198.0));
        assert_eq!(percentile(&samples, 50.0), Some(100.5));
        assert_eq!(percentile(&[3.0, 1.0, 2.0], 50.0), Some(2.0));
        assert_eq!(percentile(&[7.0], 99.0), Some(7.0));
        assert_eq!(percentile(&[], 50.0), None);
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(Unit::Seconds.show(7.1e-6), "7.10 µs");
        assert_eq!(Unit::Seconds.show(0.213), "213 ms");
        assert_eq!(Unit::PerSecond.show(23_500.0), "23.5 k/s");
        assert_eq!(Unit::PerSecond.show(1.25e9), "1250 M/s");
        assert_eq!(Unit::Bytes.show(524_288.0), "0.500 MiB");
        assert_eq!(Unit::Bytes.show(231.0), "231 B");
    }
}
