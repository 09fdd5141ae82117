//! By which hook a child process enters this crate, and whether it can.
//!
//! Runs in the parent, which sets the environment variable, and in the child, which reads it.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// How long a child may take from its start to its entry. Far more than the slowest linker and constructors need: a
/// child that takes longer never enters.
pub(crate) const ENTRY_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a child is killed after [`ENTRY_TIMEOUT`].
pub(crate) const NEVER_ENTERED: &str =
    "the child did not reach `procession::init()`; is it the first line of `main`?";

/// The hook by which children of this program enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryPoint {
    /// Their `main` calls `procession::init()`.
    Init,
    /// A constructor takes over before `main`, which in a test harness cannot be changed.
    Constructor,
}

const UNKNOWN: u8 = 0;
const BY_INIT: u8 = 1;
const BY_CONSTRUCTOR: u8 = 2;
const TOO_LATE: u8 = 3;
const NO_PROC: u8 = 4;

static ENTRY_POINT: AtomicU8 = AtomicU8::new(UNKNOWN);

impl EntryPoint {
    /// Records that children enter here. The first record counts.
    pub(crate) fn record(self) {
        record(match self {
            Self::Init => BY_INIT,
            Self::Constructor => BY_CONSTRUCTOR,
        });
    }

    /// Records that `init` was called too late for children to enter there.
    pub(crate) fn record_missed() {
        record(TOO_LATE);
    }

    /// Records that `/proc` is not mounted, so that no child can be executed.
    pub(crate) fn record_without_proc() {
        record(NO_PROC);
    }

    /// The hook of this program's children.
    ///
    /// # Errors
    ///
    /// Children cannot enter; the error says what the program has to write.
    pub(crate) fn of_this_process() -> io::Result<Self> {
        match ENTRY_POINT.load(Ordering::Acquire) {
            BY_INIT => Ok(Self::Init),
            BY_CONSTRUCTOR => Ok(Self::Constructor),
            TOO_LATE => Err(io::Error::other(
                "`procession::init()` was called after threads had been started; write \
                 `procession::init();` as the first line of `main`, before any runtime is built, \
                 or use `#[procession::main]` (in tests `#[procession::test]`)",
            )),
            NO_PROC => Err(io::Error::other(
                "`/proc` is not mounted, and processes are started by `/proc/self/exe`; mount it, \
                 for example by `mount -t proc proc /proc`",
            )),
            _ => Err(io::Error::other(
                "`procession::init()` was not called; write `procession::init();` as the first \
                 line of `main`, or use `#[procession::main]` (in tests `#[procession::test]`)",
            )),
        }
    }

    /// The value of the environment variable that tells a child to enter here. Its control socket is at standard slot
    /// `slot`.
    pub(crate) fn env_value(self, slot: u32) -> String {
        match self {
            Self::Init => format!("init{slot}"),
            Self::Constructor => format!("constructor{slot}"),
        }
    }

    /// The slot of the control socket, if `env_value` tells this process to enter here. A list of descriptors may
    /// follow, after a comma.
    pub(crate) fn slot_in(self, env_value: &str) -> Option<u32> {
        let (env_value, _) = env_value.split_once(',').unwrap_or((env_value, ""));
        (0..3).find(|slot| env_value == self.env_value(*slot))
    }
}

fn record(state: u8) {
    let _ = ENTRY_POINT.compare_exchange(UNKNOWN, state, Ordering::AcqRel, Ordering::Acquire);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_value_names_one_entry_point_and_its_slot() {
        for slot in 0..3 {
            let value = EntryPoint::Init.env_value(slot);
            assert_eq!(EntryPoint::Init.slot_in(&value), Some(slot));
            assert_eq!(EntryPoint::Constructor.slot_in(&value), None);
        }
        assert_eq!(EntryPoint::Init.slot_in("init1,3:1:2,4:1:3"), Some(1));
        assert_eq!(EntryPoint::Init.slot_in("init3"), None);
        assert_eq!(EntryPoint::Init.slot_in(""), None);
    }
}
