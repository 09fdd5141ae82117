//! How many processors this process may use.

use std::io;
use std::num::NonZeroUsize;

/// Overrides what the kernel says.
const WORKERS_VARIABLE: &str = "PROCESSION_WORKERS";

/// Returns how many processors this process may use, by affinity and cgroup quota.
///
/// [`Pool::new`](crate::Pool::new) has as many workers. If the environment variable `PROCESSION_WORKERS` is set to a
/// number above 0, it is that number. Another value of the variable is ignored here, and is an error of
/// [`PoolBuilder::build`](crate::PoolBuilder::build).
///
/// ```
/// # #[procession::main]
/// # async fn main() -> std::io::Result<()> {
/// let pool = procession::Pool::new()?;
/// assert_eq!(pool.workers().len(), procession::cpu_count());
/// # Ok(())
/// # }
/// ```
#[doc(alias = "process_cpu_count")]
#[doc(alias = "os.cpu_count")]
pub fn cpu_count() -> usize {
    let variable = std::env::var_os(WORKERS_VARIABLE);
    let given = variable.and_then(|value| parse(value.to_str()?));
    // An error says that the kernel does not tell: one worker works on every machine.
    let usable = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    given.unwrap_or_else(usable)
}

/// As [`cpu_count`].
///
/// # Errors
///
/// The variable is set to something else than a number above 0.
pub(crate) fn checked() -> io::Result<usize> {
    match std::env::var_os(WORKERS_VARIABLE) {
        Some(value) if value.to_str().and_then(parse).is_none() => {
            let why = format!("`{WORKERS_VARIABLE}` is {value:?}, and must be a number above 0");
            Err(io::Error::new(io::ErrorKind::InvalidInput, why))
        }
        _ => Ok(cpu_count()),
    }
}

fn parse(value: &str) -> Option<usize> {
    value.trim().parse().ok().filter(|&number| number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_above_zero_counts() {
        assert_eq!(parse(" 12 "), Some(12));
        for other in ["", "0", "-1", "two", "1.5", "99999999999999999999999"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
