//! Memory of values that each worker of a pool is sent once, and that travel by their number in the arguments of calls.
//!
//! Serde gives a type no way to reach the sender, so the values that the arguments at hand name are in a thread-local
//! for the time of one scope ([`collect`]), as attachments are. Likewise the worker says with [`receive`] that
//! arguments are being decoded which may name such values.
//!
//! Must stay true: outside a scope, naming such a value is an error, because its memory would not arrive. The memory is
//! sealed against writing, so no worker can change what another decodes.
//!
//! Never here: sockets, and what a process keeps of the values it was sent (`transfer/cached_values`).

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::record_fault;
use crate::sys::memory;

thread_local! {
    static NAMED: RefCell<Option<Vec<Arc<CachedMemory>>>> = const { RefCell::new(None) };
    static RECEIVES: Cell<bool> = const { Cell::new(false) };
}

/// Runs when the last handle on the memory is dropped. It may run under a lock, so it does no more than send a message.
type OnDrop = Box<dyn Fn(u64) + Send + Sync>;

/// The encoded bytes of one value.
pub(crate) struct CachedMemory {
    id: u64,
    /// The pool whose workers may be sent it.
    owner: u64,
    memory: OwnedFd,
    len: usize,
    on_drop: OnDrop,
}

impl CachedMemory {
    /// # Errors
    ///
    /// The kernel has no memory or descriptors left.
    pub(crate) fn new(
        bytes: &[u8],
        owner: u64,
        on_drop: impl Fn(u64) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        static LAST_ID: AtomicU64 = AtomicU64::new(0);
        Ok(Self {
            id: LAST_ID.fetch_add(1, Ordering::Relaxed) + 1,
            owner,
            memory: memory::sealed_copy("procession-cached", bytes)?,
            len: bytes.len(),
            on_drop: Box::new(on_drop),
        })
    }

    /// No other value of this process has this number.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn owner(&self) -> u64 {
        self.owner
    }

    /// How many bytes the value takes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl AsFd for CachedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

impl Drop for CachedMemory {
    fn drop(&mut self) {
        (self.on_drop)(self.id);
    }
}

impl fmt::Debug for CachedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedMemory")
            .field("id", &self.id)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// Ends a scope, also when a panic leaves it.
struct NameScope(Option<Vec<Arc<CachedMemory>>>);

impl Drop for NameScope {
    #[inline]
    fn drop(&mut self) {
        NAMED.replace(self.0.take());
    }
}

/// Runs `encode`. The values that it names are added to `named`.
#[inline]
pub(crate) fn collect<T>(named: &mut Vec<Arc<CachedMemory>>, encode: impl FnOnce() -> T) -> T {
    let scope = NameScope(NAMED.replace(Some(std::mem::take(named))));
    let encoded = encode();
    *named = NAMED.take().unwrap_or_default();
    drop(scope);
    encoded
}

const NOT_IN_ARGUMENTS: &str =
    "a cached value can be sent only in the arguments of calls of its pool";

/// Names a value in the arguments that this thread encodes.
///
/// # Errors
///
/// This thread encodes something else.
pub(crate) fn name(memory: &Arc<CachedMemory>) -> Result<(), String> {
    record_fault(NAMED.with_borrow_mut(|named| {
        let named = named.as_mut().ok_or_else(|| NOT_IN_ARGUMENTS.to_owned())?;
        if !named.iter().any(|other| Arc::ptr_eq(other, memory)) {
            named.push(Arc::clone(memory));
        }
        Ok(())
    }))
}

/// Why a value cannot be named in a process that has received it.
pub(crate) fn refuse_to_send() -> String {
    let refused: Result<(), _> = record_fault(Err(NOT_IN_ARGUMENTS.to_owned()));
    refused.err().unwrap_or_default()
}

/// Ends a scope, also when a panic leaves it.
struct ReceivedScope(bool);

impl Drop for ReceivedScope {
    fn drop(&mut self) {
        RECEIVES.set(self.0);
    }
}

/// Runs `decode`, whose values may be such that this process was sent before.
pub(crate) fn receive<T>(decode: impl FnOnce() -> T) -> T {
    let _scope = ReceivedScope(RECEIVES.replace(true));
    decode()
}

/// Whether the value at hand came in arguments that name such values.
///
/// # Errors
///
/// It did not.
pub(crate) fn check_received() -> Result<(), String> {
    record_fault(match RECEIVES.get() {
        true => Ok(()),
        false => Err(NOT_IN_ARGUMENTS.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_is_named_once_and_only_inside_a_scope() {
        let dropped = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&dropped);
        let memory = CachedMemory::new(b"abc", 1, move |id| seen.store(id, Ordering::Relaxed));
        let memory = Arc::new(memory.unwrap());
        assert!(name(&memory).is_err() && check_received().is_err());
        let (mut outer, mut inner) = (Vec::new(), Vec::new());
        collect(&mut outer, || {
            name(&memory).unwrap();
            collect(&mut inner, || ());
            name(&memory).unwrap();
        });
        assert_eq!((outer.len(), inner.len()), (1, 0));
        assert!(name(&memory).is_err());
        assert!(receive(check_received).is_ok() && check_received().is_err());
        let id = memory.id();
        drop(memory);
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
        drop(outer);
        assert_eq!(dropped.load(Ordering::Relaxed), id);
    }
}
