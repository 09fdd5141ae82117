//! How much processor time this program and the workers of its pool use.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use procession::Pool;
use tokio::time::sleep;

/// Clock ticks of `/proc` in a second, on every Linux (`sysconf(3)`, `_SC_CLK_TCK`).
const TICKS: f64 = 100.0;

/// How many processors are in use during `time`.
pub(crate) async fn used_during(time: Duration, pool: &Pool) -> io::Result<f64> {
    let (before, start) = (ticks(pool)?, Instant::now());
    sleep(time).await;
    let used = ticks(pool)?.saturating_sub(before);
    Ok(used as f64 / TICKS / start.elapsed().as_secs_f64())
}

fn ticks(pool: &Pool) -> io::Result<u64> {
    let mut sum = ticks_of("self")?;
    for pid in pool
        .workers()
        .iter()
        .filter_map(procession::WorkerInfo::pid)
    {
        // A worker that was just stopped uses nothing.
        sum += ticks_of(&pid.to_string()).unwrap_or(0);
    }
    Ok(sum)
}

/// User and system time of a process: fields 14 and 15 of `proc_pid_stat(5)`. The second field, in parentheses, may
/// contain spaces.
fn ticks_of(process: &str) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let times = fields.split_whitespace().skip(11).take(2);
    Ok(times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum())
}
