//! The values that this process was sent once, for as long as the application keeps a handle on them.
//!
//! Runs in the worker, where one thread receives their memory and another decodes and uses them.
//!
//! Must stay true: a value is decoded once. It is dropped on a thread of its own, because a `Drop` is user code, and
//! the thread that receives messages must not wait for it.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde::de::DeserializeOwned;

use crate::codec::cached;
use crate::codec::codec;
use crate::sys::memory::Mapping;

static VALUES: Mutex<BTreeMap<u64, Arc<CachedValue>>> = Mutex::new(BTreeMap::new());
static ARRIVED: Condvar = Condvar::new();

/// One value.
type CachedValue = Mutex<ValueState>;

enum ValueState {
    /// It has not been used: its memory, and how long it is.
    Encoded(Mapping, usize),
    Decoded(Arc<dyn Any + Send + Sync>),
    /// Why it cannot be decoded.
    Broken(String),
}

/// Keeps the memory of a value that has arrived.
///
/// # Errors
///
/// The kernel cannot map it.
pub(crate) fn add(id: u64, memory: &OwnedFd, len: usize) -> io::Result<()> {
    // Each lane of a worker may be sent it.
    if lock().contains_key(&id) {
        return Ok(());
    }
    let mapping = Mapping::read_only(memory, len.max(1))?;
    let value = Arc::new(Mutex::new(ValueState::Encoded(mapping, len)));
    lock().insert(id, value);
    ARRIVED.notify_all();
    Ok(())
}

/// Forgets a value: the application has no handle on it any more.
pub(crate) fn remove(id: u64) {
    let removed = lock().remove(&id);
    // Without a thread for it, it is dropped here.
    let _ = thread::Builder::new()
        .name("procession-drop".to_owned())
        .spawn(move || drop(removed));
}

/// The value that the arguments at hand name by `id`. Blocks until its memory has come.
///
/// # Errors
///
/// This is not where arguments are decoded, or the value cannot be decoded.
pub(crate) fn get<T>(id: u64) -> Result<Arc<T>, String>
where
    T: DeserializeOwned + Send + Sync + 'static,
{
    cached::check_received()?;
    let value = wait_for(id);
    let mut state = value.lock().unwrap_or_else(PoisonError::into_inner);
    if let ValueState::Encoded(mapping, len) = &*state {
        let decoded = codec::decode_shared::<T>(mapping.shared(0, *len));
        *state = match decoded {
            Ok(value) => ValueState::Decoded(Arc::new(value)),
            Err(why) => ValueState::Broken(why),
        };
    }
    match &*state {
        ValueState::Decoded(value) => Arc::clone(value)
            .downcast()
            .map_err(|_| "a cached value has another type".to_owned()),
        ValueState::Broken(why) => Err(why.clone()),
        ValueState::Encoded(..) => Err("a cached value was not decoded".to_owned()),
    }
}

fn wait_for(id: u64) -> Arc<CachedValue> {
    let mut values = lock();
    loop {
        if let Some(value) = values.get(&id) {
            return Arc::clone(value);
        }
        values = ARRIVED.wait(values).unwrap_or_else(PoisonError::into_inner);
    }
}

fn lock() -> MutexGuard<'static, BTreeMap<u64, Arc<CachedValue>>> {
    VALUES.lock().unwrap_or_else(PoisonError::into_inner)
}
