//! How children of this process come in, and whether they can.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};

/// How children of this process come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryPoint {
    /// Their `main` calls `procession::init()`.
    Init,
    /// A constructor takes over before `main`: that of a test harness, which is nobody's to change.
    Constructor,
}

const UNKNOWN: u8 = 0;
const BY_INIT: u8 = 1;
const BY_CONSTRUCTOR: u8 = 2;
const TOO_LATE: u8 = 3;

static ENTRANCE: AtomicU8 = AtomicU8::new(UNKNOWN);

impl EntryPoint {
    /// Says that children come in this way. The first word counts.
    pub(crate) fn open(self) {
        mark(match self {
            Self::Init => BY_INIT,
            Self::Constructor => BY_CONSTRUCTOR,
        });
    }

    /// Says that `init` was called when it was too late for children to come in by it.
    pub(crate) fn missed() {
        mark(TOO_LATE);
    }

    /// How children come in.
    ///
    /// # Errors
    ///
    /// They cannot; the error says what the program has to write.
    pub(crate) fn of_this_process() -> io::Result<Self> {
        match ENTRANCE.load(Ordering::Acquire) {
            BY_INIT => Ok(Self::Init),
            BY_CONSTRUCTOR => Ok(Self::Constructor),
            TOO_LATE => Err(io::Error::other(
                "`procession::init()` was called after threads had been started; write \
                 `procession::init();` as the first line of `main`, before any runtime is built, \
                 or use `#[procession::main]` (in tests `#[procession::test]`)",
            )),
            _ => Err(io::Error::other(
                "`procession::init()` was not called; write `procession::init();` as the first \
                 line of `main`, or use `#[procession::main]` (in tests `#[procession::test]`)",
            )),
        }
    }

    /// The value of the environment variable that sends a child this way, with its control socket
    /// at standard slot `slot`.
    pub(crate) fn invitation(self, slot: u32) -> String {
        match self {
            Self::Init => format!("init{slot}"),
            Self::Constructor => format!("constructor{slot}"),
        }
    }

    /// The slot of the control socket, if `invitation` sends this process this way.
    pub(crate) fn invited(self, invitation: &str) -> Option<u32> {
        (0..3).find(|slot| invitation == self.invitation(*slot))
    }
}

fn mark(state: u8) {
    let _ = ENTRANCE.compare_exchange(UNKNOWN, state, Ordering::AcqRel, Ordering::Acquire);
}
