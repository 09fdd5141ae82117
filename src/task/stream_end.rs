//! The end of a function whose items are not read any more, where its process must live on.
//!
//! Runs in the process of a state. The function unwinds from its next item, as a future that is dropped ends at its
//! await: no other way ends code in the middle of a process.
//!
//! Must stay true: only the thread that runs such a function unwinds.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::state_slot;

thread_local! {
    /// Whether this thread runs a function that ends with its stream.
    static ENDS: Cell<bool> = const { Cell::new(false) };
}

/// What the function unwinds with.
struct StreamGone;

/// Runs `f`, which ends where it sends an item after its stream is gone.
pub(crate) fn until_stream_ends(f: impl FnOnce()) {
    ENDS.set(true);
    let ended = catch_unwind(AssertUnwindSafe(f));
    ENDS.set(false);
    match ended {
        Ok(()) => {}
        Err(payload) if payload.is::<StreamGone>() => {
            // The state is as the function has left it, and is not lent any more.
            let _ = state_slot::is_state_spoiled();
        }
        Err(payload) => resume_unwind(payload),
    }
}

/// An item has no reader any more. Ends the function on this thread, if it ends so. No panic hook runs.
pub(crate) fn end_with_stream() {
    // A build that aborts where it would unwind lets the function run to its end.
    if cfg!(panic = "unwind") && ENDS.get() && !std::thread::panicking() {
        resume_unwind(Box::new(StreamGone));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_ends_at_its_next_item_and_other_panics_pass() {
        end_with_stream();
        until_stream_ends(|| {
            end_with_stream();
            panic!("the function has not ended");
        });
        let other = catch_unwind(|| until_stream_ends(|| resume_unwind(Box::new(7_u32))));
        assert_eq!(other.unwrap_err().downcast_ref(), Some(&7_u32));
        end_with_stream();
    }
}
