//! A value of one thread, which other threads may look at for a while.
//!
//! The value need not be `Send`: it is made, changed and dropped on its own thread. Where its type is `Sync`, the
//! thread can lend it. While it is lent, the thread waits before it changes or drops it.
//!
//! # Safety
//!
//! A [`LentValue`] is made only for a type that is `Sync`, so shared references to it may be used on any thread. It
//! counts itself. The owner gives out `&mut`, and frees the value, only while the count is 0; while a `&mut` is out,
//! the borrow checker forbids to lend. The pointer is that of a box which only the owner's `Drop` frees.
#![allow(unsafe_code)]

use std::any::Any;
use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// See the module. Not `Send`.
pub(crate) struct ThreadValue {
    value: NonNull<dyn Any>,
    lent: Arc<LentCount>,
}

/// How often the value is lent.
#[derive(Default)]
struct LentCount {
    count: AtomicUsize,
    lock: Mutex<()>,
    is_back: Condvar,
}

/// The value, on a thread that it was lent to.
#[doc(hidden)]
pub struct LentValue {
    value: NonNull<dyn Any>,
    lent: Arc<LentCount>,
}

impl ThreadValue {
    pub(crate) fn new<S: 'static>(value: S) -> Self {
        let value: Box<dyn Any> = Box::new(value);
        Self {
            value: NonNull::from(Box::leak(value)),
            lent: Arc::default(),
        }
    }

    /// The value, to be changed. Blocks while it is lent.
    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut dyn Any {
        self.lent.wait();
        // SAFETY: the box is this value's, and no `LentValue` is left; a new one needs `&self`.
        unsafe { self.value.as_mut() }
    }

    /// The value, to be looked at.
    pub(crate) fn get(&self) -> &dyn Any {
        // SAFETY: the box is this value's, and a `&mut` to it borrows this value mutably.
        unsafe { self.value.as_ref() }
    }

    /// Lends the value. `None` if it is no `S`.
    pub(crate) fn lend<S: Sync + 'static>(&self) -> Option<LentValue> {
        self.get().is::<S>().then(|| {
            self.lent.count.fetch_add(1, Ordering::Relaxed);
            LentValue {
                value: self.value,
                lent: Arc::clone(&self.lent),
            }
        })
    }
}

impl Drop for ThreadValue {
    fn drop(&mut self) {
        self.lent.wait();
        // SAFETY: the pointer is that of the box which `new` has leaked, and no `LentValue` is left.
        drop(unsafe { Box::from_raw(self.value.as_ptr()) });
    }
}

impl LentCount {
    #[inline]
    fn wait(&self) {
        // What the readers have read was read before.
        if self.count.load(Ordering::Acquire) != 0 {
            self.wait_long();
        }
    }

    #[cold]
    fn wait_long(&self) {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while self.count.load(Ordering::Acquire) != 0 {
            let woken = self.is_back.wait(lock);
            lock = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl LentValue {
    pub(crate) fn get(&self) -> &dyn Any {
        // SAFETY: while this exists the box is neither freed nor borrowed mutably.
        unsafe { self.value.as_ref() }
    }
}

// SAFETY: it gives out shared references alone, to a value whose type is `Sync` (`ThreadValue::lend`).
unsafe impl Send for LentValue {}

impl Drop for LentValue {
    fn drop(&mut self) {
        if self.lent.count.fetch_sub(1, Ordering::Release) == 1 {
            // Under the lock: the owner has not looked yet, or waits.
            let _lock = self.lent.lock.lock();
            self.lent.is_back.notify_all();
        }
    }
}

impl fmt::Debug for ThreadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadValue").finish_non_exhaustive()
    }
}

impl fmt::Debug for LentValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LentValue").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    fn number(value: &dyn Any) -> u32 {
        *value.downcast_ref::<u32>().unwrap()
    }

    #[test]
    fn value_is_lent_to_several_threads_and_changed_when_all_are_done() {
        let mut value = ThreadValue::new(1_u32);
        let (arrived, arrivals) = mpsc::channel();
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let lent = value.lend::<u32>().unwrap();
                let arrived = arrived.clone();
                let (go, gone) = mpsc::channel::<()>();
                let reader = thread::spawn(move || {
                    arrived.send(number(lent.get())).unwrap();
                    let _ = gone.recv();
                    number(lent.get())
                });
                (go, reader)
            })
            .collect();
        // All three have it at the same time.
        assert!((0..3).all(|_| arrivals.recv().unwrap() == 1));
        let readers: Vec<_> = threads.into_iter().map(|(_, reader)| reader).collect();
        *value.get_mut().downcast_mut::<u32>().unwrap() = 2;
        for reader in readers {
            assert_eq!(reader.join().unwrap(), 1);
        }
        assert_eq!(number(value.get()), 2);
    }

    #[test]
    fn value_of_another_type_is_not_lent() {
        let value = ThreadValue::new(1_u32);
        assert!(value.lend::<u64>().is_none());
    }

    #[test]
    fn value_is_dropped_when_the_last_reader_is_done() {
        let shared = Arc::new(());
        let value = ThreadValue::new(Arc::clone(&shared));
        let lent = value.lend::<Arc<()>>().unwrap();
        let reader = thread::spawn(move || drop(lent));
        drop(value);
        assert_eq!(Arc::strong_count(&shared), 1);
        reader.join().unwrap();
    }
}
