//! What a task can ask about its place: a number to seed a generator with, and a directory.
//!
//! Runs in the worker.

use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::current::identity;
use super::progress::report_scratch;
use super::running;
use crate::sys::scratch;

/// The directory of this worker, once it was made, with its lock.
static MADE: OnceLock<(PathBuf, File)> = OnceLock::new();

/// Records the place of the item that this process runs from now on.
#[inline]
pub(crate) fn enter_item(place: u64) {
    running::current().place.store(place, Ordering::Relaxed);
}

/// A number to seed a generator of random numbers with.
///
/// It follows from [`PoolBuilder::seed`](crate::PoolBuilder::seed) and the place of the item in its map, and from
/// nothing else: not from the worker, the batch or the try. So a map gives the same results at each run. The items of
/// one map have different seeds; calls that are not of a map have the seed of a first item. Without
/// `PoolBuilder::seed`, the pool has a random one. Outside the workers of a pool, each call of this function gives
/// another number.
///
/// ```
/// fn draw(_: u32) -> u64 {
///     procession::task::seed() % 6 + 1
/// }
///
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = || procession::Pool::builder().workers(2).seed(7).build();
/// let first = pool()?.map(draw, 0..100).await?;
/// let second = pool()?.map(draw, 0..100).await?;
/// assert_eq!(first, second);
/// # Ok(())
/// # }
/// ```
pub fn seed() -> u64 {
    match identity().and_then(|it| it.seed) {
        Some(seed) => mix(seed, running::current().place.load(Ordering::Relaxed)),
        None => RandomState::new().hash_one(0),
    }
}

/// Two rounds of SplitMix64 (G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA
/// 2014).
fn mix(seed: u64, place: u64) -> u64 {
    let finish = |mut z: u64| {
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    };
    const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;
    let of_seed = finish(seed.wrapping_add(GAMMA));
    finish(of_seed.wrapping_add(place.wrapping_add(1).wrapping_mul(GAMMA)))
}

/// A directory of this worker alone, for files that its tasks need for a while.
///
/// It is made, empty and with mode 0700, when a task of the worker first asks for it, in the directory for temporary
/// files of the application (`TMPDIR`, or `/tmp`). All later tasks of the worker find it as the earlier ones have left
/// it.
///
/// It is removed with the worker, however the worker ends. When the application is killed, its fork server removes it.
/// What kills all of these processes at once, such as `cgroup.kill` or a power cut, leaves it there. So does a program
/// whose workers are executed ([`StartMethod::Exec`](crate::StartMethod::Exec)), if it returns without
/// [`Pool::shutdown`](crate::Pool::shutdown). Then the next worker of any program of this crate that asks for a
/// directory removes it.
///
/// # Errors
///
/// This process is no worker of a pool ([`io::ErrorKind::Unsupported`]), or the directory cannot be made.
///
/// # Blocking
///
/// The first call writes to the file system.
///
/// ```
/// fn lines(text: String) -> std::io::Result<u64> {
///     let path = procession::task::scratch_dir()?.join("text");
///     std::fs::write(&path, text)?;
///     std::fs::metadata(&path).map(|it| it.len())
/// }
///
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = procession::Pool::with_workers(1)?;
/// let len = pool.run(|text: String| lines(text).unwrap_or(0), "two words".to_owned()).await?;
/// assert_eq!(len, 9);
/// # Ok(())
/// # }
/// ```
pub fn scratch_dir() -> io::Result<&'static Path> {
    static MAKING: Mutex<()> = Mutex::new(());
    let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((path, _)) = MADE.get() {
        return Ok(path);
    }
    let Some(path) = identity().and_then(|it| it.scratch.clone()) else {
        let why = "only a worker of a pool has a scratch directory";
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    };
    scratch::sweep();
    // Before it is there, because this process may be killed at any moment.
    report_scratch();
    let lock = scratch::create(&path)?;
    Ok(&MADE.get_or_init(|| (path, lock)).0)
}

/// Removes the directory of this worker, which ends in an orderly way.
pub(crate) fn remove_scratch() {
    if let Some((path, _)) = MADE.get() {
        scratch::remove(path);
    }
}

/// Has the directory removed although this worker ends at once.
pub(crate) fn abandon_scratch() {
    if let Some((path, _)) = MADE.get() {
        scratch::remove_from_outside(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ_by_place_and_by_pool() {
        let all: std::collections::BTreeSet<_> = (0..100)
            .flat_map(|seed| (0..100).map(move |place| mix(seed, place)))
            .collect();
        assert_eq!(all.len(), 10_000);
        assert_eq!(mix(1, 2), mix(1, 2));
        assert_ne!(mix(0, 1), mix(1, 0));
    }
}
