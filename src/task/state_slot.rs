//! The state of this process: a value that calls borrow, one after the other, and reads beside each other.
//!
//! Runs in the child, on the thread that runs tasks; for [`Managed::local`](crate::Managed::local) on a thread of the
//! application. The state is made, changed and dropped on its thread, so it need not be `Send`. A state that is `Sync`
//! can be lent to other threads, which read it.
//!
//! Must stay true: a thread has at most one state; it is dropped where a worker leaves in an orderly way
//! ([`drop_state`]), and nowhere else.

use std::any::{Any, type_name};
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::sys::thread_value::{LentValue, ThreadValue};

thread_local! {
    static SLOT: StateSlot = const {
        StateSlot {
            state: RefCell::new(ManuallyDrop::new(None)),
            is_lent: Cell::new(false),
            outlives_panics: Cell::new(false),
        }
    };

    /// The state of another thread, on a thread that runs a read.
    static LENT: RefCell<Option<LentValue>> = const { RefCell::new(None) };
}

struct StateSlot {
    /// Not dropped by the end of its thread: a thread that ends in the middle of a call, by `exit`, has lent it.
    state: RefCell<ManuallyDrop<Option<ThreadValue>>>,
    /// Whether a call has it, or has had it when it panicked.
    is_lent: Cell<bool>,
    outlives_panics: Cell<bool>,
}

/// Makes `state` this thread's state. Drops the one before, if there is one.
pub(super) fn put<S: 'static>(state: S) {
    let state = ThreadValue::new(state);
    let before = SLOT.with(|slot| slot.state.borrow_mut().replace(state));
    drop(before);
}

/// Gives this thread's state to `f`, when no other thread reads it.
#[inline]
pub(super) fn with<S: 'static, T>(f: impl FnOnce(&mut S) -> T) -> T {
    SLOT.with(|slot| {
        let mut held = slot.state.borrow_mut();
        let state = held.as_mut().map(ThreadValue::get_mut);
        let Some(state) = state.and_then(<dyn Any>::downcast_mut::<S>) else {
            no_state(type_name::<S>());
        };
        slot.is_lent.set(true);
        let out = f(state);
        slot.is_lent.set(false);
        out
    })
}

/// Lends this thread's state to another thread, if it has a state of type `S`.
pub(super) fn lend<S: std::marker::Sync + 'static>() -> Option<LentValue> {
    SLOT.with(|slot| slot.state.borrow().as_ref()?.lend::<S>())
}

/// Runs `f` on this thread, where [`with_shared`] finds `state`.
pub(crate) fn with_lent<T>(state: LentValue, f: impl FnOnce() -> T) -> T {
    struct Return;

    impl Drop for Return {
        fn drop(&mut self) {
            LENT.take();
        }
    }

    LENT.set(Some(state));
    let _return = Return;
    f()
}

/// Gives `f` the state that was lent to this thread, or else this thread's own.
pub(super) fn with_shared<S: 'static, T>(f: impl FnOnce(&S) -> T) -> T {
    LENT.with_borrow(|lent| {
        if let Some(state) = lent.as_ref().map(LentValue::get) {
            return downcast_and_call(Some(state), f);
        }
        SLOT.with(|slot| {
            let held = slot.state.borrow();
            downcast_and_call(held.as_ref().map(ThreadValue::get), f)
        })
    })
}

fn downcast_and_call<S: 'static, T>(state: Option<&dyn Any>, f: impl FnOnce(&S) -> T) -> T {
    match state.and_then(<dyn Any>::downcast_ref) {
        Some(state) => f(state),
        None => no_state(type_name::<S>()),
    }
}

#[cold]
fn no_state(name: &str) -> ! {
    // A worker makes its state before its first call, so this is no worker of a pool with a state.
    panic!("procession: there is no `{name}` here");
}

/// The state stays when a call that has it panics.
pub(super) fn keep_after_panics() {
    SLOT.with(|slot| slot.outlives_panics.set(true));
}

/// A call has panicked. True if the call had the state, which must not be used any more.
#[cold]
pub(crate) fn is_state_spoiled() -> bool {
    SLOT.with(|slot| slot.is_lent.take() && !slot.outlives_panics.get())
}

/// Drops this thread's state, if it has one. A panic of its `Drop` ends here: the process leaves all the same.
pub(crate) fn drop_state() {
    let state = SLOT.with(|slot| slot.state.borrow_mut().take());
    let _ = catch_unwind(AssertUnwindSafe(|| drop(state)));
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Noisy(std::rc::Rc<Cell<u32>>);

    impl Drop for Noisy {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }

    #[test]
    fn state_is_dropped_when_it_is_replaced_and_when_the_worker_leaves() {
        let drops = std::rc::Rc::new(Cell::new(0));
        put(Noisy(drops.clone()));
        put(Noisy(drops.clone()));
        assert_eq!(drops.get(), 1);
        drop_state();
        drop_state();
        assert_eq!(drops.get(), 2);
    }

    #[test]
    fn state_is_spoiled_by_a_panic_of_a_call_that_has_it() {
        put(1_u8);
        with(|n: &mut u8| *n += 1);
        assert!(!is_state_spoiled());
        let panics = || catch_unwind(|| with(|_: &mut u8| panic!("on purpose")));
        assert!(panics().is_err() && is_state_spoiled() && !is_state_spoiled());
        keep_after_panics();
        assert!(panics().is_err() && !is_state_spoiled());
        assert_eq!(with(|n: &mut u8| *n), 2);
    }

    #[test]
    fn lent_state_is_looked_at_on_another_thread() {
        put(1_u8);
        assert_eq!(with_shared(|n: &u8| *n), 1);
        let lent = lend::<u8>().unwrap();
        let reader = std::thread::spawn(|| with_lent(lent, || with_shared(|n: &u8| *n + 1)));
        with(|n: &mut u8| *n = 7);
        assert_eq!(reader.join().unwrap(), 2);
        assert!(lend::<u16>().is_none());
        drop_state();
        assert!(lend::<u8>().is_none());
    }
}
