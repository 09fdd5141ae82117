//! The state of this process: a value that calls borrow, one after the other.
//!
//! Runs in the child, on the thread that runs tasks; for [`Managed::local`](crate::Managed::local) on a thread of the
//! application. The state never leaves its thread, so it need not be `Send`.
//!
//! Must stay true: a thread has at most one state; it is dropped where a worker leaves in an orderly way ([`drop_state`]),
//! and nowhere else.

use std::any::{Any, type_name};
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static SLOT: StateSlot = const {
        StateSlot {
            state: RefCell::new(ManuallyDrop::new(None)),
            is_lent: Cell::new(false),
            outlives_panics: Cell::new(false),
        }
    };
}

struct StateSlot {
    /// Not dropped by the end of its thread: a thread that ends in the middle of a call, by `exit`, has lent it.
    state: RefCell<ManuallyDrop<Option<Box<dyn Any>>>>,
    /// Whether a call has it, or has had it when it panicked.
    is_lent: Cell<bool>,
    outlives_panics: Cell<bool>,
}

/// Makes `state` this thread's state. Drops the one before, if there is one.
pub(super) fn put(state: Box<dyn Any>) {
    let before = SLOT.with(|slot| slot.state.borrow_mut().replace(state));
    drop(before);
}

/// Gives this thread's state to `f`.
#[inline]
pub(super) fn with<S: 'static, T>(f: impl FnOnce(&mut S) -> T) -> T {
    SLOT.with(|slot| {
        let mut held = slot.state.borrow_mut();
        let state = held.as_deref_mut().and_then(<dyn Any>::downcast_mut::<S>);
        let Some(state) = state else {
            no_state(type_name::<S>());
        };
        slot.is_lent.set(true);
        let out = f(state);
        slot.is_lent.set(false);
        out
    })
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
        put(Box::new(Noisy(drops.clone())));
        put(Box::new(Noisy(drops.clone())));
        assert_eq!(drops.get(), 1);
        drop_state();
        drop_state();
        assert_eq!(drops.get(), 2);
    }

    #[test]
    fn state_is_spoiled_by_a_panic_of_a_call_that_has_it() {
        put(Box::new(1_u8));
        with(|n: &mut u8| *n += 1);
        assert!(!is_state_spoiled());
        let panics = || catch_unwind(|| with(|_: &mut u8| panic!("on purpose")));
        assert!(panics().is_err() && is_state_spoiled() && !is_state_spoiled());
        keep_after_panics();
        assert!(panics().is_err() && !is_state_spoiled());
        assert_eq!(with(|n: &mut u8| *n), 2);
    }
}
