//! A process as the holder of the locks in one piece of shared memory.
//!
//! All ends of a process at the same memory share one holder, so that the process has one number there and its threads
//! exclude each other. A forked copy of the process is another holder: it registers anew when it first tries a lock.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use super::word::HolderNumber;
use crate::sys::fork_epoch;
use crate::sys::memory;
use crate::sys::presence::{self, Presence, Witness};

/// The most locks in one piece of shared memory.
pub(crate) const MOST_LOCKS: usize = 4;

/// The holders of this process, by the identity of their memory. It is tried and never waited for: a forked copy may
/// have been made while another thread had it. Without it two ends have two holders, which costs a descriptor.
static HOLDERS: Mutex<BTreeMap<u64, Weak<Holder>>> = Mutex::new(BTreeMap::new());

/// This process as a holder of locks.
#[derive(Debug)]
pub(crate) struct Holder {
    first: Registration,
    /// The identity of the memory.
    memory: u64,
}

/// A holder as one process, which may be a forked copy of the process that made the holder.
#[derive(Debug)]
pub(super) struct Registration {
    epoch: u64,
    number: HolderNumber,
    kernel_side: KernelSide,
    /// Whether a thread of this process has the turn at a lock.
    turns: [AtomicBool; MOST_LOCKS],
    /// The registration of the forked copy that this process is.
    of_copy: OnceLock<Box<Registration>>,
}

/// How the kernel knows the holder, and through what the kernel is asked about others.
#[derive(Debug)]
enum KernelSide {
    Registered(Presence),
    Unregistered(Witness),
}

/// The turn of a thread at a lock. Dropping it ends the turn.
#[derive(Debug)]
pub(super) struct LocalTurn<'a>(&'a AtomicBool);

impl Holder {
    /// This process as a holder of the locks in `memory`.
    ///
    /// # Errors
    ///
    /// The process has no descriptor left, or the kernel no memory.
    pub(crate) fn of(memory: &OwnedFd) -> io::Result<Arc<Self>> {
        let identity = memory::identity(memory)?;
        if let Some(holder) = Self::known(identity, memory) {
            return Ok(holder);
        }
        let holder = Arc::new(Self::unshared(memory)?);
        if let Ok(mut holders) = HOLDERS.try_lock() {
            holders.insert(identity, Arc::downgrade(&holder));
        }
        Ok(holder)
    }

    /// A holder that no other end of this process uses.
    pub(super) fn unshared(memory: &OwnedFd) -> io::Result<Self> {
        Ok(Self {
            first: Registration::new(memory.as_fd())?,
            memory: memory::identity(memory)?,
        })
    }

    /// A holder that the kernel knows, and that no other value of this process uses.
    ///
    /// # Errors
    ///
    /// The kernel cannot register this process: it has no `/proc`, or a filter forbids to open files.
    pub(crate) fn registered(memory: &OwnedFd) -> io::Result<Self> {
        let holder = Self::unshared(memory)?;
        match holder.first.number.in_kernel() {
            Some(_) => Ok(holder),
            None => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this process cannot be registered as a holder of locks: is there no /proc?",
            )),
        }
    }

    /// The number of this process in the kernel; `None` if this is a forked copy that cannot register now.
    #[inline]
    pub(crate) fn number_in_kernel(&self) -> Option<NonZeroU32> {
        self.here()?.number.in_kernel()
    }

    /// Whether a process is registered at the memory under `number`, which any process may have written.
    pub(crate) fn is_alive(&self, number: NonZeroU32) -> bool {
        let Some(here) = self.here() else {
            // Without a description of its own, a copy cannot ask.
            return true;
        };
        let known = HolderNumber::registered(number).in_kernel();
        known.is_some_and(|number| {
            here.number.in_kernel() == Some(number) || here.is_registered(number)
        })
    }

    /// The holder of this process at `memory`, if there is one.
    fn known(identity: u64, memory: &OwnedFd) -> Option<Arc<Self>> {
        let holder = HOLDERS.try_lock().ok()?.get(&identity)?.upgrade()?;
        // The numbers of files are used again. The kernel says whether the holder is registered at this very file.
        let number = holder.first.number.in_kernel()?;
        presence::is_registered(memory, number).then_some(holder)
    }

    /// This process's registration. `None` if this is a forked copy that cannot register now.
    #[inline]
    pub(super) fn here(&self) -> Option<&Registration> {
        let epoch = fork_epoch::current();
        match self.first.epoch == epoch {
            true => Some(&self.first),
            false => self.first.of_copy(epoch),
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        if let Ok(mut holders) = HOLDERS.try_lock() {
            let is_gone = |holder: &Weak<Self>| holder.strong_count() == 0;
            if holders.get(&self.memory).is_some_and(is_gone) {
                holders.remove(&self.memory);
            }
        }
    }
}

impl Registration {
    fn new(memory: BorrowedFd<'_>) -> io::Result<Self> {
        let (number, kernel_side) = match Presence::register(memory) {
            Ok(presence) => (
                HolderNumber::registered(presence.number()),
                KernelSide::Registered(presence),
            ),
            Err(error) if is_shortage(&error) => return Err(error),
            // No `/proc`, a filter, or a kernel without such locks.
            Err(_) => (
                HolderNumber::unregistered(presence::random_number()),
                KernelSide::Unregistered(Witness::of(memory)?),
            ),
        };
        Ok(Self {
            epoch: fork_epoch::current(),
            number,
            kernel_side,
            turns: Default::default(),
            of_copy: OnceLock::new(),
        })
    }

    #[inline]
    pub(super) fn number(&self) -> HolderNumber {
        self.number
    }

    /// Whether another process is registered under `number`.
    pub(super) fn is_registered(&self, number: NonZeroU32) -> bool {
        self.witness().is_registered(number)
    }

    /// Takes the turn of this process at a lock. `None` if another thread has it.
    #[inline]
    pub(super) fn take_turn(&self, lock: usize) -> Option<LocalTurn<'_>> {
        let turn = self.turns.get(lock)?;
        let is_taken = turn.load(Ordering::Relaxed) || turn.swap(true, Ordering::Acquire);
        // Not `then_some`: dropping a `LocalTurn` would end the turn of another thread.
        (!is_taken).then(|| LocalTurn(turn))
    }

    fn witness(&self) -> &Witness {
        match &self.kernel_side {
            KernelSide::Registered(presence) => presence.witness(),
            KernelSide::Unregistered(witness) => witness,
        }
    }

    /// The registration of the forked copy whose epoch is `epoch`.
    #[cold]
    fn of_copy(&self, epoch: u64) -> Option<&Self> {
        let mut registration = self;
        while registration.epoch != epoch {
            if registration.of_copy.get().is_none() {
                // If another thread was faster, its registration is used.
                let _ = registration
                    .of_copy
                    .set(Box::new(Self::new(registration.witness().as_fd()).ok()?));
            }
            registration = registration.of_copy.get()?;
        }
        Some(registration)
    }
}

impl Drop for LocalTurn<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Whether registering has failed for a reason that may pass.
fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOLCK)
    )
}
