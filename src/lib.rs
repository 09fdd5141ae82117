#![doc = include_str!("../README.md")]
// Where `main` begins is what those examples are about.
#![allow(clippy::needless_doctest_main)]

#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
compile_error!("procession runs on Linux, on x86-64 and aarch64, so far");

mod managed;

pub mod memory;
mod pipe;
mod pool;
mod process;
mod queue;
pub mod sync;

mod init;

mod child;
mod schedule;
mod spawn;

mod call;
mod channel;
pub mod task;

mod abort;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(all(test, not(fuzzing)))]
mod fuzzing;

mod transfer;

mod codec;

mod background;
mod lock;
mod own_runtime;
mod ring;
mod sys;
mod threads;

pub use abort::AbortHandle;
pub use channel::{RecvError, SendError, TryRecvError, TrySendError};
pub use codec::Descriptor;
pub use error::{CrashReport, ErrorKind, JoinError, PanicReport};
pub use init::init;
pub use managed::{Managed, ManagedBuilder, ManagedCall, ManagedSpawn, ManagedStream};
pub use pipe::{
    BytePipe, Pipe, PipeOptions, PipeReceiver, PipeSender, byte_pipe, channel, channel_with, pipe,
    pipe_with,
};
pub use pool::{
    Broadcast, Cached, Cgroup, CollectAll, Emit, Full, Histogram, Lease, LeaseRequest, Map,
    MapFuture, Metrics, Permit, PermitFuture, Pool, PoolBuilder, PoolEvent, PoolEvents,
    RecycleReason, Restart, Run, Shutdown, ShutdownReport, StateLease, StateLeaseRequest,
    StatePermit, StatePermitFuture, StatePool, StatePoolBuilder, StateStreamTask, StreamTask,
    TaskHandle, TaskSet, TaskStream, WorkerInfo, WorkerState,
};
pub use process::{
    ChildStderr, ChildStdin, ChildStdout, Process, ProcessBuilder, ProcessHandle, spawn,
};
pub use procession_macros::{main, test};
pub use queue::{Abandoned, NotReceived, QueueOptions, Receiver, Sender, queue, queue_with};
pub use schedule::Priority;
pub use spawn::{ChildInfo, Output, StartMethod, active_children, warm_up};
pub use sys::cpu_count::cpu_count;
pub use task::{CurrentProcess, Setup, StateSetup, StateTask, Task, TaskId, current};

#[cfg(doc)]
#[doc = include_str!("../docs/security.md")]
pub mod security {}

/// What the attributes' expansions call. Not a public interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::init::enter_from_test;
    pub use tokio;
}
