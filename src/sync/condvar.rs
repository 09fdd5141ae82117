//! Waiting for a change of a value under a lock.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytemuck::Pod;

use super::condvar_serving;
use super::condvar_serving::{NOTIFIED, NOTIFIED_WITH_ALL};
use super::enrolment::Enrolment;
use super::error::Poisoned;
use super::handle::handle_of;
use super::local_side::LocalSide;
use super::mutex_guard::MutexGuard;
use super::mutex_locking::{Locking, lock_blocking};
use super::mutex_serving::TO_LOCK;
use super::object_kind::ObjectKind;
use super::party_word::PartyState;
use super::waiting::{Asked, Waiting, block};

/// Lets tasks, threads and processes wait until the value in a [`Mutex`](super::Mutex) has changed.
///
/// A handle can be cloned, and sent to another process inside an argument, a result or a message; all handles are the
/// same. A notification reaches parties that wait and are alive, and no others: a party that dies, or stops waiting,
/// before it has the lock again passes its notification on. As with any condition variable, a party looks at the value
/// when it wakes: [`wait_while`](Self::wait_while) does that.
///
/// ```
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession::sync::{Condvar, Mutex};
///
/// async fn raise(level: Mutex<u32>, raised: Condvar) {
///     *level.lock().await.unwrap() = 3;
///     raised.notify_all();
/// }
///
/// let (level, raised) = (Mutex::new(0)?, Condvar::new()?);
/// let process = procession::spawn(raise, (level.clone(), raised.clone()));
/// let guard = raised.wait_while(level.lock().await?, |level| *level < 3).await?;
/// assert_eq!(*guard, 3);
/// process.await?;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "Condition")]
pub struct Condvar {
    side: Arc<LocalSide>,
}

impl Condvar {
    /// Makes a condition variable at which no party waits.
    ///
    /// # Errors
    ///
    /// The kernel has no memory or descriptors left, or this process has no `/proc`.
    pub fn new() -> io::Result<Self> {
        let side = LocalSide::create(ObjectKind::Condvar, 0, 0)?;
        Ok(Self { side })
    }

    /// Notifies the party that has waited longest, if one waits.
    #[doc(alias = "notify")]
    pub fn notify_one(&self) {
        condvar_serving::notify(&self.side, 1, NOTIFIED);
    }

    /// Notifies the `n` parties that have waited longest, or all if there are fewer. Returns how many were notified.
    pub fn notify(&self, n: usize) -> usize {
        condvar_serving::notify(&self.side, n, NOTIFIED)
    }

    /// Notifies all parties that wait.
    pub fn notify_all(&self) {
        condvar_serving::notify(&self.side, usize::MAX, NOTIFIED_WITH_ALL);
    }

    /// Unlocks, waits until it is notified, and locks again.
    ///
    /// Between a look at the value under the lock and this wait, no notification is missed.
    ///
    /// # Errors
    ///
    /// A process has ended while it held the lock. The notification is then passed on.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has released the lock, and has passed on its notification.
    pub fn wait<'a, T: Pod + Send>(
        &self,
        guard: MutexGuard<'a, T>,
    ) -> impl Future<Output = Result<MutexGuard<'a, T>, Poisoned>> + Send + Unpin + use<'_, 'a, T>
    {
        CondvarWait {
            waiting: Waiting::new(&self.side),
            locking: Locking::new(guard.side(), TO_LOCK),
            guard: Some(guard),
            notified: None,
        }
    }

    /// Waits for as long as `condition` is true of the value. It may change the value.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Cancel safety
    ///
    /// As [`wait`](Self::wait).
    #[doc(alias = "wait_for")]
    pub fn wait_while<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: F,
    ) -> impl Future<Output = Result<MutexGuard<'a, T>, Poisoned>> + Send + Unpin + use<'_, 'a, T, F>
    where
        T: Pod + Send + Sync,
        F: FnMut(&mut T) -> bool + Send,
    {
        Box::pin(async move {
            while condition(&mut guard) {
                guard = self.wait(guard).await?;
            }
            Ok(guard)
        })
    }

    /// As [`wait`](Self::wait), blocking this thread. Not for async code.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn blocking_wait<'a, T: Pod>(
        &self,
        guard: MutexGuard<'a, T>,
    ) -> Result<MutexGuard<'a, T>, Poisoned> {
        let mutex = guard.side();
        let mut held = Some(guard);
        let notified = block(&self.side, asked, |party| {
            // The lock is released when the party is in the table.
            if party.is_some() {
                drop(held.take());
            }
            attempt(party)
        });
        let locked = lock_blocking(mutex, TO_LOCK);
        settle(notified, locked.is_ok());
        locked
    }

    /// As [`wait_while`](Self::wait_while), blocking this thread. Not for async code.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn blocking_wait_while<'a, T: Pod>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<MutexGuard<'a, T>, Poisoned> {
        while condition(&mut guard) {
            guard = self.blocking_wait(guard)?;
        }
        Ok(guard)
    }
}

fn asked() -> Asked {
    Asked { kind: 0, amount: 0 }
}

/// The party, once it was notified. `Some(None)` if its record was overwritten, as if it was notified.
fn attempt(party: &mut Option<Enrolment>) -> Option<Option<Enrolment>> {
    let enrolment = party.as_ref()?;
    match enrolment.state() {
        Some(PartyState::Waiting) => None,
        Some(_) => Some(party.take()),
        None => {
            *party = None;
            Some(None)
        }
    }
}

/// The party has the lock again, or cannot have it: then its notification is passed on.
fn settle(notified: Option<Enrolment>, is_locked: bool) {
    match (notified, is_locked) {
        (Some(used), true) => used.end(),
        (unused, _) => drop(unused),
    }
}

/// Waits, and locks again.
struct CondvarWait<'a, 'm, T: Pod> {
    waiting: Waiting<'a>,
    /// Until the party is in the table.
    guard: Option<MutexGuard<'m, T>>,
    /// Once the party was notified.
    notified: Option<Option<Enrolment>>,
    locking: Locking<'m, T>,
}

impl<'m, T: Pod + Send> Future for CondvarWait<'_, 'm, T> {
    type Output = Result<MutexGuard<'m, T>, Poisoned>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.notified.is_none() {
            let guard = &mut this.guard;
            let notified = ready!(this.waiting.poll(cx, asked, |party| {
                if party.is_some() {
                    drop(guard.take());
                }
                attempt(party)
            }));
            this.notified = Some(notified);
        }
        let locked = ready!(Pin::new(&mut this.locking).poll(cx));
        settle(this.notified.take().flatten(), locked.is_ok());
        Poll::Ready(locked)
    }
}

handle_of!(Condvar, ObjectKind::Condvar);

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}
