//! What can be called in another process, and what a task can ask about itself.
//!
//! Must stay true: a function is only ever found through the image's table.
//!
//! Never here: how a call becomes bytes, and which worker runs it.

mod async_runtime;
mod callable;
mod current;
mod setup;

pub use callable::{Async, Call, Diverging, Never, Sync, Task};
pub use current::{CurrentProcess, TaskId, cancelled, current, is_cancelled};
#[doc(hidden)]
pub use setup::Plain;
pub use setup::Setup;

pub(crate) use current::{Identity, be, cancel_current, enter_task};
