//! What runs once among all processes.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::enrolment::Enrolment;
use super::handle::handle_of;
use super::local_side::LocalSide;
use super::object_kind::ObjectKind;
use super::once_serving;
use super::once_serving::RUNS;
use super::party_word::PartyState;
use super::waiting::{Asked, Waiting, block};

/// Has something run once among all processes that share it: a download, a migration.
///
/// A handle can be cloned, and sent to another process inside an argument, a result or a message; all handles are the
/// same. If the party that runs it panics, is cancelled, or its process ends, the next party runs its own.
///
/// ```
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession::sync::Once;
///
/// async fn prepare(prepared: Once) -> bool {
///     prepared.call_once(async || { /* fill a cache */ }).await
/// }
///
/// let prepared = Once::new()?;
/// let pool = procession::Pool::with_workers(2)?;
/// let ran = pool.map(prepare, (0..4).map(|_| prepared.clone())).await?;
/// assert_eq!(ran.iter().filter(|ran| **ran).count(), 1);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "OnceCell")]
pub struct Once {
    side: Arc<LocalSide>,
}

impl Once {
    /// Makes a `Once` whose function has not run.
    ///
    /// # Errors
    ///
    /// The kernel has no memory or descriptors left, or this process has no `/proc`.
    pub fn new() -> io::Result<Self> {
        let side = LocalSide::create(ObjectKind::Once, 0, 0)?;
        Ok(Self { side })
    }

    /// Whether it has run.
    pub fn is_completed(&self) -> bool {
        once_serving::is_completed(&self.side)
    }

    /// Runs `f`, unless a party has run its own before; waits while another does. True if `f` has run to its end.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe as far as `f` is: if this is dropped while `f` runs, another party runs its own.
    pub fn call_once<'a, F>(&'a self, f: F) -> Pin<Box<impl Future<Output = bool> + use<'a, F>>>
    where
        F: AsyncFnOnce() + 'a,
    {
        Box::pin(async move {
            let begun = Beginning {
                side: &self.side,
                waiting: Waiting::new(&self.side),
            };
            let Some(mut run) = begun.await else {
                return false;
            };
            run.stop_sleeping();
            f().await;
            once_serving::complete(&self.side);
            true
        })
    }

    /// As [`call_once`](Self::call_once), blocking this thread. Not for async code.
    pub fn blocking_call_once(&self, f: impl FnOnce()) -> bool {
        let begun = block(&self.side, asked, |party| attempt(&self.side, party));
        let Some(mut run) = begun else {
            return false;
        };
        run.stop_sleeping();
        f();
        once_serving::complete(&self.side);
        true
    }
}

fn asked() -> Asked {
    Asked { kind: 0, amount: 0 }
}

/// The party, if it is to run; `Some(None)` if it has run. Dropping the party has the others told.
fn attempt(side: &LocalSide, party: &mut Option<Enrolment>) -> Option<Option<Enrolment>> {
    if once_serving::is_completed(side) {
        *party = None;
        return Some(None);
    }
    match party.as_ref()?.state() {
        Some(PartyState::Waiting) => None,
        Some(RUNS) => Some(party.take()),
        // The record was overwritten.
        _ => {
            *party = None;
            None
        }
    }
}

/// Ready when this party is to run, or it has run.
struct Beginning<'a> {
    side: &'a Arc<LocalSide>,
    waiting: Waiting<'a>,
}

impl Future for Beginning<'_> {
    type Output = Option<Enrolment>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let side = self.side;
        self.waiting.poll(cx, asked, |party| attempt(side, party))
    }
}

handle_of!(Once, ObjectKind::Once);

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once")
            .field("is_completed", &self.is_completed())
            .finish()
    }
}
