//! The contenders: a function per case, which returns its samples in SI units.
//!
//! A contender panics when it cannot go on. Its process ends with that, and the report says so.
//! Every pool has two workers unless the case says otherwise: one per CPU of the machine on which
//! the targets were set. Each rival is used in the way that suits it best: a blocking library is not
//! wrapped in a runtime.

pub(crate) mod channels;
pub(crate) mod in_process;
pub(crate) mod ipc_channel;
pub(crate) mod locks;
pub(crate) mod ours;
pub(crate) mod procspawn;
pub(crate) mod services;
pub(crate) mod shared_memory;
pub(crate) mod starting;
pub(crate) mod state;
pub(crate) mod unix_ipc;
