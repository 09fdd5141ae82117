//! A lock with a value that many may read at a time.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytemuck::Pod;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::enrolment::Enrolment;
use super::error::{Poisoned, TryLockError};
use super::local_side;
use super::local_side::LocalSide;
use super::object_kind::ObjectKind;
use super::party_word::PartyState;
use super::rwlock_guard::{RwLockReadGuard, RwLockWriteGuard};
use super::rwlock_serving;
use super::rwlock_serving::{TO_READ, TO_REPAIR, TO_WRITE};
use super::waiting::{Asked, Waiting, block};

/// A lock with a value that processes share, which many can read or one can write, as `tokio::sync::RwLock` is for
/// tasks.
///
/// What [`Mutex`](super::Mutex) says of the value, of handles and of hostile processes holds here too. Readers and
/// writers are let in in the order in which they came: a reader that comes after a waiting writer waits for it, so
/// neither starves. Up to 4096 parties of all processes hold the lock or wait in order.
///
/// A process that ends while it writes poisons the lock, until a process calls [`recover`](Self::recover). A reader's
/// end does not poison. Uncontended, a [`Mutex`](super::Mutex) costs less.
///
/// ```
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession::sync::RwLock;
///
/// async fn limit(limits: RwLock<[u32; 2]>, which: usize) -> u32 {
///     limits.read().await.unwrap()[which]
/// }
///
/// let limits = RwLock::new([10, 20])?;
/// limits.write().await?[1] = 30;
/// assert_eq!(procession::spawn(limit, (limits.clone(), 1)).await?, 30);
/// # Ok(())
/// # }
/// ```
pub struct RwLock<T> {
    pub(super) side: Arc<LocalSide>,
    value: PhantomData<fn() -> T>,
}

impl<T: Pod> RwLock<T> {
    /// Makes a lock with `value` in it.
    ///
    /// # Errors
    ///
    /// As [`Mutex::new`](super::Mutex::new).
    pub fn new(value: T) -> io::Result<Self> {
        let side = LocalSide::create(ObjectKind::RwLock, 0, size_of::<T>())?;
        side.memory.store_value(false, bytemuck::bytes_of(&value));
        Ok(Self::of(side))
    }

    /// Locks for reading when no task, thread or process writes, or waits to write since before.
    ///
    /// # Errors
    ///
    /// A process has ended while it wrote, and the lock was not recovered since.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped before it is ready, it has given up its place, and what it was given.
    pub fn read(
        &self,
    ) -> impl Future<Output = Result<RwLockReadGuard<'_, T>, Poisoned>> + Send + Unpin + use<'_, T>
    {
        Entering::new(self, TO_READ, RwLockReadGuard::new)
    }

    /// Locks for writing when no other task, thread or process holds the lock.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    ///
    /// # Cancel safety
    ///
    /// As [`read`](Self::read).
    pub fn write(
        &self,
    ) -> impl Future<Output = Result<RwLockWriteGuard<'_, T>, Poisoned>> + Send + Unpin + use<'_, T>
    {
        Entering::new(self, TO_WRITE, RwLockWriteGuard::new)
    }

    /// Locks for writing, and makes a poisoned lock healthy.
    ///
    /// # Cancel safety
    ///
    /// As [`read`](Self::read). The lock stays poisoned until this is ready.
    pub fn recover(
        &self,
    ) -> impl Future<Output = RwLockWriteGuard<'_, T>> + Send + Unpin + use<'_, T> {
        Repairing(Entering::new(self, TO_REPAIR, RwLockWriteGuard::repairing))
    }

    /// As [`read`](Self::read), blocking this thread. Not for async code.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn blocking_read(&self) -> Result<RwLockReadGuard<'_, T>, Poisoned> {
        let entered = block(&self.side, || asked(TO_READ), attempt)?;
        Ok(RwLockReadGuard::new(&self.side, entered))
    }

    /// As [`write`](Self::write), blocking this thread. Not for async code.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn blocking_write(&self) -> Result<RwLockWriteGuard<'_, T>, Poisoned> {
        let entered = block(&self.side, || asked(TO_WRITE), attempt)?;
        Ok(RwLockWriteGuard::new(&self.side, entered))
    }

    /// As [`recover`](Self::recover), blocking this thread. Not for async code.
    pub fn blocking_recover(&self) -> RwLockWriteGuard<'_, T> {
        loop {
            // A request to recover is never refused, unless its record was overwritten.
            if let Ok(entered) = block(&self.side, || asked(TO_REPAIR), attempt) {
                return RwLockWriteGuard::repairing(&self.side, entered);
            }
        }
    }

    /// Locks for reading if that can be had now.
    ///
    /// # Errors
    ///
    /// A party writes or waits to write, or the lock is poisoned.
    pub fn try_read(&self) -> Result<RwLockReadGuard<'_, T>, TryLockError> {
        let entered = self.try_enter(TO_READ)?;
        Ok(RwLockReadGuard::new(&self.side, entered))
    }

    /// Locks for writing if that can be had now.
    ///
    /// # Errors
    ///
    /// A party holds the lock or waits for it, or the lock is poisoned.
    pub fn try_write(&self) -> Result<RwLockWriteGuard<'_, T>, TryLockError> {
        let entered = self.try_enter(TO_WRITE)?;
        Ok(RwLockWriteGuard::new(&self.side, entered))
    }

    fn try_enter(&self, kind: u8) -> Result<Enrolment, TryLockError> {
        match self.side.try_now(asked(kind)) {
            Some((PartyState::Granted, entered)) => Ok(entered),
            Some((PartyState::Refused, _)) => Err(TryLockError::Poisoned),
            _ => Err(TryLockError::WouldBlock),
        }
    }

    /// Whether a process has ended while it wrote, and the lock was not recovered since.
    pub fn is_poisoned(&self) -> bool {
        self.side.serve(true);
        rwlock_serving::is_poisoned(&self.side)
    }

    /// Whether a task, a thread or a process holds the lock now, to read or to write.
    pub fn is_locked(&self) -> bool {
        self.side.serve(true);
        rwlock_serving::inside(&self.side).0 > 0
    }
}

impl<T> RwLock<T> {
    fn of(side: Arc<LocalSide>) -> Self {
        Self {
            side,
            value: PhantomData,
        }
    }
}

fn asked(kind: u8) -> Asked {
    Asked { kind, amount: 0 }
}

/// What has become of a request.
fn attempt(party: &mut Option<Enrolment>) -> Option<Result<Enrolment, Poisoned>> {
    match party.as_ref()?.state() {
        Some(PartyState::Waiting) => None,
        Some(PartyState::Granted) => party.take().map(Ok),
        Some(PartyState::Refused) => {
            *party = None;
            Some(Err(Poisoned(())))
        }
        // The record was overwritten.
        _ => {
            *party = None;
            None
        }
    }
}

/// Locks when it can.
struct Entering<'a, T, G> {
    lock: &'a RwLock<T>,
    kind: u8,
    guard: fn(&'a Arc<LocalSide>, Enrolment) -> G,
    waiting: Waiting<'a>,
}

impl<'a, T, G> Entering<'a, T, G> {
    fn new(lock: &'a RwLock<T>, kind: u8, guard: fn(&'a Arc<LocalSide>, Enrolment) -> G) -> Self {
        Self {
            lock,
            kind,
            guard,
            waiting: Waiting::new(&lock.side),
        }
    }
}

impl<T, G> Future for Entering<'_, T, G> {
    type Output = Result<G, Poisoned>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let kind = self.kind;
        let entered = ready!(self.waiting.poll(cx, || asked(kind), attempt));
        Poll::Ready(entered.map(|entered| (self.guard)(&self.lock.side, entered)))
    }
}

/// Recovers when it can.
struct Repairing<'a, T, G>(Entering<'a, T, G>);

impl<T, G> Future for Repairing<'_, T, G> {
    type Output = G;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<G> {
        loop {
            // A request to recover is never refused, unless its record was overwritten.
            if let Ok(guard) = ready!(Pin::new(&mut self.0).poll(cx)) {
                return Poll::Ready(guard);
            }
        }
    }
}

impl<T> Clone for RwLock<T> {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.side))
    }
}

impl<T> Serialize for RwLock<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        local_side::serialize(&self.side, serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for RwLock<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let side = local_side::deserialize(deserializer, ObjectKind::RwLock, size_of::<T>())?;
        Ok(Self::of(side))
    }
}

impl<T> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (holders, is_written) = rwlock_serving::inside(&self.side);
        f.debug_struct("RwLock")
            .field("holders", &holders)
            .field("is_written", &is_written)
            .field("is_poisoned", &rwlock_serving::is_poisoned(&self.side))
            .finish_non_exhaustive()
    }
}
