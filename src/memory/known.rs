//! The sealed memories that this process has, so that each is mapped once, however often it arrives.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::sys::sealed_memory::SealedMemory;

/// By inode number. An entry whose memory is gone is removed with it, so a number that the kernel gives again is not
/// found.
static KNOWN: Mutex<BTreeMap<u64, Weak<KnownMemory>>> = Mutex::new(BTreeMap::new());

/// Sealed memory that other values of this process find.
#[derive(Debug)]
pub(super) struct KnownMemory(SealedMemory);

impl KnownMemory {
    /// Adds memory that was sealed here.
    pub(super) fn add(memory: SealedMemory) -> Arc<Self> {
        let inode = memory.identity();
        let memory = Arc::new(Self(memory));
        lock().insert(inode, Arc::downgrade(&memory));
        memory
    }

    /// The memory behind `fd`, which came from another process.
    ///
    /// # Errors
    ///
    /// It is not sealed memory, or the kernel cannot map it.
    pub(super) fn open(fd: OwnedFd) -> io::Result<Arc<Self>> {
        let inode = SealedMemory::identity_of(&fd)?;
        let known = lock().get(&inode).and_then(Weak::upgrade);
        match known {
            Some(known) => Ok(known),
            None => Ok(Self::add(SealedMemory::open(fd)?)),
        }
    }

    /// What is sealed.
    pub(super) fn sealed(&self) -> &SealedMemory {
        &self.0
    }
}

impl Drop for KnownMemory {
    fn drop(&mut self) {
        let mut known = lock();
        let inode = self.0.identity();
        // Two threads that received it at the same time have added it one after the other.
        let is_own = |entry: &Weak<Self>| entry.strong_count() == 0;
        if known.get(&inode).is_some_and(is_own) {
            known.remove(&inode);
        }
    }
}

fn lock() -> MutexGuard<'static, BTreeMap<u64, Weak<KnownMemory>>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}
