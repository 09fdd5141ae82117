//! Permits, of which there is a limited number.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use super::enrolment::Enrolment;
use super::error::{AcquireError, TryAcquireError};
use super::handle::handle_of;
use super::local_side::LocalSide;
use super::object_kind::ObjectKind;
use super::owned_permit::OwnedSemaphorePermit;
use super::party_word::PartyState;
use super::permit::SemaphorePermit;
use super::semaphore_serving;
use super::waiting::{Asked, Waiting, block};

/// Permits that processes share, as those of `tokio::sync::Semaphore` are for tasks.
///
/// A handle can be cloned, and sent to another process inside an argument, a result or a message; all handles are the
/// same semaphore.
///
/// Permits are given in the order in which they were asked for: a request for many is not overtaken by a request for
/// few. The permits of a process that ends, however it ends, are given back. So are permits that it was given and had
/// not seen.
///
/// Up to 4096 permits and requests of all processes can exist at a time; a request for many is one. More wait, and look
/// again each millisecond.
///
/// ```
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession::sync::Semaphore;
///
/// async fn convert(converters: Semaphore, n: u32) -> u32 {
///     let _permit = converters.acquire().await.unwrap();
///     n + 1 // at most two of these run at a time
/// }
///
/// let converters = Semaphore::new(2)?;
/// let pool = procession::Pool::with_workers(4)?;
/// let all = pool.map(convert, (0..8).map(|n| (converters.clone(), n))).await?;
/// assert_eq!(all.len(), 8);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "BoundedSemaphore")]
pub struct Semaphore {
    pub(super) side: Arc<LocalSide>,
}

impl Semaphore {
    /// The most permits of a semaphore.
    pub const MAX_PERMITS: usize = semaphore_serving::MOST_PERMITS;

    /// Makes a semaphore with `permits` permits.
    ///
    /// # Errors
    ///
    /// There are more than [`MAX_PERMITS`](Self::MAX_PERMITS), the kernel has no memory or descriptors left, or this
    /// process has no `/proc`.
    pub fn new(permits: usize) -> io::Result<Self> {
        if permits > Self::MAX_PERMITS {
            let why = "a semaphore has at most `Semaphore::MAX_PERMITS` permits";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let side = LocalSide::create(ObjectKind::Semaphore, 0, 0)?;
        side.memory.state().store(permits as u64, Ordering::Relaxed);
        Ok(Self { side })
    }

    /// How many permits can be acquired now, if no request waits.
    #[doc(alias = "get_value")]
    pub fn available_permits(&self) -> usize {
        self.side.serve(true);
        semaphore_serving::available(&self.side)
    }

    /// Adds `n` permits.
    ///
    /// # Panics
    ///
    /// The semaphore would have more than [`MAX_PERMITS`](Self::MAX_PERMITS), as in Tokio. Nothing is added then.
    /// [`try_add_permits`](Self::try_add_permits) refuses instead.
    #[doc(alias = "release")]
    pub fn add_permits(&self, n: usize) {
        let is_added = self.try_add_permits(n);
        // As in Tokio: the caller has released more than there can be.
        assert!(
            is_added,
            "a semaphore has at most `Semaphore::MAX_PERMITS` permits"
        );
    }

    /// Adds `n` permits, unless the semaphore would have more than [`MAX_PERMITS`](Self::MAX_PERMITS). False if so.
    pub fn try_add_permits(&self, n: usize) -> bool {
        let most = Self::MAX_PERMITS as u64;
        let add = |total: u64| total.checked_add(n as u64).filter(|sum| *sum <= most);
        let state = self.side.memory.state();
        let added = state.fetch_update(Ordering::SeqCst, Ordering::Relaxed, add);
        self.side.serve(false);
        added.is_ok()
    }

    /// Removes up to `n` of the permits that are available; returns how many.
    pub fn forget_permits(&self, n: usize) -> usize {
        let mut removed = 0;
        let state = self.side.memory.state();
        // Not under a lock: permits that are acquired meanwhile are owed, and the next to be given back pay for them.
        let remove = |total: u64| {
            removed = n.min(semaphore_serving::available(&self.side)) as u64;
            total.checked_sub(removed)
        };
        let taken = state.fetch_update(Ordering::SeqCst, Ordering::Relaxed, remove);
        taken.map_or(0, |_| removed as usize)
    }

    /// Refuses all requests from now on, also requests that wait.
    pub fn close(&self) {
        self.side.memory.second().store(1, Ordering::SeqCst);
        self.side.serve(false);
    }

    /// Whether the semaphore was closed.
    pub fn is_closed(&self) -> bool {
        semaphore_serving::is_closed(&self.side)
    }

    /// Acquires a permit when there is one.
    ///
    /// # Errors
    ///
    /// The semaphore is closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped before it is ready, it has given up its place, and gives back what it was given.
    pub fn acquire(
        &self,
    ) -> impl Future<Output = Result<SemaphorePermit<'_>, AcquireError>> + Send + Unpin + use<'_>
    {
        self.acquire_many(1)
    }

    /// Acquires `n` permits when there are so many.
    ///
    /// A semaphore that never has so many never gives them.
    ///
    /// # Errors
    ///
    /// The semaphore is closed.
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](Self::acquire).
    pub fn acquire_many(
        &self,
        n: u32,
    ) -> impl Future<Output = Result<SemaphorePermit<'_>, AcquireError>> + Send + Unpin + use<'_>
    {
        Acquiring {
            asked: asked(n),
            waiting: Waiting::new(&self.side),
        }
    }

    /// Acquires a permit that borrows nothing, and can be sent to another process.
    ///
    /// # Errors
    ///
    /// The semaphore is closed.
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](Self::acquire).
    pub fn acquire_owned(
        self,
    ) -> impl Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send + Unpin {
        self.acquire_many_owned(1)
    }

    /// As [`acquire_owned`](Self::acquire_owned), for `n` permits.
    ///
    /// # Errors
    ///
    /// The semaphore is closed.
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](Self::acquire).
    pub fn acquire_many_owned(
        self,
        n: u32,
    ) -> impl Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send + Unpin {
        Box::pin(async move { self.acquire_many(n).await.map(SemaphorePermit::into_owned) })
    }

    /// As [`acquire`](Self::acquire), blocking this thread. Not for async code.
    ///
    /// # Errors
    ///
    /// The semaphore is closed.
    pub fn blocking_acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.blocking_acquire_many(1)
    }

    /// As [`acquire_many`](Self::acquire_many), blocking this thread. Not for async code.
    ///
    /// # Errors
    ///
    /// The semaphore is closed.
    pub fn blocking_acquire_many(&self, n: u32) -> Result<SemaphorePermit<'_>, AcquireError> {
        let granted = block(&self.side, || asked(n), attempt);
        granted.map(SemaphorePermit::new)
    }

    /// Acquires a permit if there is one now.
    ///
    /// # Errors
    ///
    /// The semaphore is closed, or there is no permit that an earlier request does not wait for.
    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// Acquires `n` permits if there are so many now.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire).
    pub fn try_acquire_many(&self, n: u32) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        match self.side.try_now(asked(n)) {
            Some((PartyState::Granted, enrolment)) => Ok(SemaphorePermit::new(enrolment)),
            Some((PartyState::Refused, _)) => Err(TryAcquireError::Closed),
            _ => Err(TryAcquireError::NoPermits),
        }
    }

    /// As [`try_acquire`](Self::try_acquire), with a permit that borrows nothing.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire).
    pub fn try_acquire_owned(self) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        self.try_acquire().map(SemaphorePermit::into_owned)
    }
}

fn asked(n: u32) -> Asked {
    Asked {
        kind: 0,
        amount: n.into(),
    }
}

/// What has become of a request.
fn attempt(party: &mut Option<Enrolment>) -> Option<Result<Enrolment, AcquireError>> {
    match party.as_ref()?.state() {
        Some(PartyState::Waiting) => None,
        Some(PartyState::Granted) => party.take().map(Ok),
        Some(PartyState::Refused) => {
            *party = None;
            Some(Err(AcquireError(())))
        }
        // The record was overwritten.
        _ => {
            *party = None;
            None
        }
    }
}

/// Acquires when it can.
struct Acquiring<'a> {
    asked: Asked,
    waiting: Waiting<'a>,
}

impl<'a> Future for Acquiring<'a> {
    type Output = Result<SemaphorePermit<'a>, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let asked = self.asked;
        let acquired = self.waiting.poll(cx, || asked, attempt);
        acquired.map_ok(SemaphorePermit::new)
    }
}

handle_of!(Semaphore, ObjectKind::Semaphore);

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("permits", &semaphore_serving::available(&self.side))
            .field("is_closed", &self.is_closed())
            .finish()
    }
}
