//! The signs of life of a task, as its parent sees them.
//!
//! Runs in the child. A sign is the time, in a word of the request ring's memory. The parent looks at the word when the
//! limit of a task's [`progress_timeout`](crate::Run::progress_timeout) is over, so a sign costs no system call.
//!
//! Must stay true: the parent believes no sign that lies in the future.

use std::sync::atomic::Ordering;

use super::running;
use crate::ring::Ring;
use crate::sys::clock::Moment;

/// Stands for "at this moment", whenever the parent looks.
const WAITS_FOR_READER: u64 = u64::MAX;

/// Leaves signs of life in `ring` from here on.
pub(crate) fn report_progress_in(ring: Ring) {
    let _ = running::process().ring.set(ring);
}

/// Tells the application that the running task makes progress.
///
/// A task whose call has a [`progress_timeout`](crate::Run::progress_timeout) must call this at shorter intervals, and
/// is stopped otherwise. It costs a few nanoseconds, from any thread of the task. Elsewhere it does nothing.
///
/// ```
/// use std::time::Duration;
///
/// fn search(haystacks: Vec<String>) -> usize {
///     let mut found = 0;
///     for haystack in haystacks {
///         found += haystack.matches("needle").count();
///         procession::task::alive();
///     }
///     found
/// }
///
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = procession::Pool::with_workers(1)?;
/// let found = pool
///     .run(search, vec!["a needle".to_owned()])
///     .progress_timeout(Duration::from_secs(10))
///     .await?;
/// assert_eq!(found, 1);
/// # Ok(())
/// # }
/// ```
pub fn alive() {
    store(Moment::now().to_bits());
}

/// This process has made a directory, which must be removed when it has ended.
pub(super) fn report_scratch() {
    if let Some(ring) = running::process().ring.get() {
        ring.mark().store(1, Ordering::Release);
    }
}

/// The task has made progress at about this moment.
#[inline]
pub(crate) fn progress() {
    store(Moment::last_tick().to_bits());
}

#[inline]
fn store(bits: u64) {
    let running = running::current();
    if let Some(ring) = running.ring.get() {
        ring.progress().store(bits, Ordering::Release);
    }
    if running.is_of_process() {
        // It is not known which of them has made progress.
        let rings = running::lanes().iter().filter_map(|it| it.ring.get());
        rings.for_each(|ring| ring.progress().store(bits, Ordering::Release));
    }
}

/// While this is there, the task waits for the reader of its items, which counts as progress.
#[derive(Debug)]
pub(crate) struct WaitForRoom(());

impl WaitForRoom {
    pub(crate) fn begin() -> Self {
        store(WAITS_FOR_READER);
        Self(())
    }
}

impl Drop for WaitForRoom {
    fn drop(&mut self) {
        progress();
    }
}
