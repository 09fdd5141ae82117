//! What is called in another process, and what a task can ask about itself.
//!
//! Inside the crate this is where a call becomes bytes and bytes become a call: [`Task`] says what
//! can be called, `envelope` how requests and replies are laid out, `job` is the caller's side of a
//! call and `execution` the worker's.
//!
//! Must stay true: a function is only ever found through the image's table; an item of work is
//! claimed before its arguments are even decoded; every claimed item gets exactly one reply, and one
//! that was never claimed gets none.
//!
//! Never here: which worker runs what, and when.

mod callable;
mod current;
mod setup;

pub(crate) mod capture;
pub(crate) mod envelope;
pub(crate) mod execution;
pub(crate) mod job;
pub(crate) mod outgoing;
mod replies;
mod runtime;
mod slot;

pub use callable::{Async, Call, Diverging, Never, Sync, Task};
pub use current::{CurrentProcess, TaskId, cancelled, current, is_cancelled};
#[doc(hidden)]
pub use setup::Plain;
pub use setup::Setup;

pub(crate) use current::{Identity, be, cancel_current, enter_task};
pub(crate) use slot::Slot;
