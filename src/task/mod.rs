//! The functions that can be called in another process, and what a running task can ask about itself.
//!
//! `callable`, `setup`, `state_setup` and `state_task` turn functions and their arguments into types, in the parent;
//! the child calls them there. `arities` has the lists of parameters. `running`, `current`, `progress`, `trace`,
//! `state_slot` and `async_runtime` run in the child.
//!
//! Must stay true: a child finds a function only through the table of the program's image.
//!
//! Never here: how a call is encoded, and which worker runs it.

mod arities;
mod async_runtime;
mod callable;
mod current;
mod place;
mod progress;
mod running;
mod setup;
mod state_read;
mod state_setup;
mod state_slot;
mod state_task;
mod stream_end;
mod trace;
mod traceparent;

pub use callable::{Async, Call, Diverging, Never, Sync, Task};
#[doc(hidden)]
pub use callable::{AsyncCall, SyncCall};
pub use current::{CurrentProcess, TaskId, cancelled, current, is_cancelled};
pub use place::{scratch_dir, seed};
pub use progress::alive;
#[doc(hidden)]
pub use setup::Plain;
pub use setup::Setup;
pub use state_setup::StateSetup;
pub use state_task::StateTask;
pub use trace::traceparent;

pub(crate) use arities::{up_to_eight, up_to_four, up_to_seven};
pub(crate) use async_runtime::Stopped;
pub(crate) use current::{Identity, cancel_current, enter_task, set_identity};
pub(crate) use place::{abandon_scratch, enter_item, remove_scratch};
pub(crate) use progress::{WaitForRoom, progress, report_progress_in};
pub(crate) use running::{enter_lane, set_lanes};
pub(crate) use state_read::{SharedRead, StateRead};
pub(crate) use state_setup::Keeping;
pub(crate) use state_slot::{drop_state, is_state_spoiled, with_lent};
pub(crate) use state_task::{OverState, StateCall, WithState};
pub(crate) use stream_end::{end_with_stream, until_stream_ends};
pub(crate) use trace::enter_trace;
pub(crate) use traceparent::Traceparent;
