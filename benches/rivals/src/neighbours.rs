//! The use of the CPUs by other programs: a measurement beside a compiler is worth nothing, and the report says so.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// How long one look takes: a dozen ticks of the kernel's accounting, which is in hundredths of a
/// second on every machine.
const LOOK: Duration = Duration::from_millis(300);
/// CPUs that others may use before it is worth a line: an editor and a few daemons stay below.
const TOLERATED: f64 = 0.15;
/// The ticks per second in `/proc/stat`, which do not depend on the kernel's own tick.
const TICKS: f64 = 100.0;

/// How many CPUs are in use while this program does nothing, if that is more than a few daemons'.
pub(crate) fn noise() -> Option<f64> {
    let start = Instant::now();
    let before = busy_ticks()?;
    thread::sleep(LOOK);
    let ticks = busy_ticks()?.saturating_sub(before);
    let cpus = ticks as f64 / TICKS / start.elapsed().as_secs_f64();
    (cpus > TOLERATED).then_some(cpus)
}

fn busy_ticks() -> Option<u64> {
    busy(&fs::read_to_string("/proc/stat").ok()?)
}

/// The ticks of the first line that are neither idle nor spent waiting for a disk. A guest's are
/// among the user's already.
fn busy(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = ticks[..] else {
        return None;
    };
    Some(user + nice + system + irq + softirq + steal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_are_not_busy() {
        let stat = "cpu  1 20 300 9999 9999 4000 50000 600000 7 7\ncpu0 1 1 1 1\n";
        assert_eq!(busy(stat), Some(654_321));
        assert_eq!(busy("cpu  1 2 3"), None);
    }
}
