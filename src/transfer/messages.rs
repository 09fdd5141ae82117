//! The messages of the control sockets, one enum for each sender and receiver.
//!
//! A worker's socket carries [`ToWorker`] and [`FromWorker`]. If the worker was forked, [`FromChild`] comes from there
//! too. To a spare, [`ToWorker`] brings what goes with its request, and [`ToSpare`] follows. A fork server's socket
//! carries [`ToForkServer`] and [`FromForkServer`]; during a preload also [`ToWorker`] and [`FromWorker`].

use serde::{Deserialize, Serialize};

use super::control::Message;
use super::env_block::EnvBlock;
use super::fork_spec::ForkSpec;
use super::greeting::Greeting;

/// From the parent to a worker or single-task process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToWorker {
    /// Shared memory for arguments that are too large for a ring. Carries its descriptor.
    Blob { id: u64 },
    /// The parent will not use its blob `id` again.
    Forget { id: u64 },
    /// The parent has read the worker's blob `id`.
    Returned { id: u64 },
    /// The worker's blob `id` did not reach the parent, whose descriptor table was full.
    Lost { id: u64 },
    /// The worker should free the memory of its idle blobs.
    Trim,
    /// The descriptors in the arguments of request `id`. Carries them.
    Attachments { id: u64 },
    /// The worker should check whether the thread that runs tasks has ended: the task has run for long.
    CheckTaskThread,
    /// The memory of a value that requests name by `id` from here on. Carries its descriptor.
    Cached { id: u64, len: u64 },
    /// No request names the value `id` any more.
    Uncached { id: u64 },
    /// The task of the request with this number should stop by itself.
    Cancel { request: u64, lane: usize },
    /// All requests were revoked that the worker had when it said that it begins nothing more. Whether the call of the
    /// exit function follows: otherwise the worker exits at once.
    Leave { follows: bool },
    /// All blobs and attachments of the requests in the ring have been sent. Only a fork server with a preload and a
    /// single-task process get this: they read nothing more from the socket while they run.
    Ready,
}

/// From a worker or single-task process to its parent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromWorker {
    /// The worker is set up and begins to look for requests. Its first message. What a socket has taken cannot be taken
    /// back, so this is what the parent believes when the worker has died.
    Ready,
    /// Shared memory for a result that is too large for a ring. Carries its descriptor.
    Blob { id: u64 },
    /// The worker will not use its blob `id` again.
    Forget { id: u64 },
    /// The descriptors in the results of reply `id`. Carries them.
    Attachments { id: u64 },
}

/// From the parent to its fork server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToForkServer {
    /// Fork this child. Carries the child's end of its control socket, and what [`ForkSpec`] lists.
    Fork(Box<ForkSpec>),
    /// Fork a spare. Carries the memory and the parent-death pipe of a single-task process, and the spare's end of its
    /// control socket.
    Spare,
}

/// From a fork server to its parent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromForkServer {
    /// The fork server can fork now. This is its environment, if that is short.
    Settled(Option<EnvBlock>),
    /// The process cannot be a fork server; the reason. A preload was not run.
    Unfit(String),
    /// The preload has made the process unable to fork; how.
    Spoiled(String),
}

/// From the parent to a spare.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToSpare {
    /// Become this child and begin. Carries what [`ForkSpec`] lists, and for a worker what its [`Greeting`] lists.
    Become(Box<ForkSpec>, Box<Greeting>),
}

/// From a child that a fork server was asked for, or from the fork server on its behalf.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromChild {
    /// The child exists. The fork server says so with the child's pidfd; the child says so too, in case the fork server
    /// was killed between fork and message.
    Forked { pid: u32 },
    /// There is no such child.
    Refused(Refusal),
}

/// From the process that hands an opaque `Stdio` back.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromStdioHelper {
    /// The stdin that the helper was started with. Carries it.
    Stdin,
}

/// Why a fork server made no child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refusal {
    /// It can fork no child; the reason.
    Unfit(String),
    /// It could not fork this child: its directory does not exist, memory is short.
    Failed { errno: i32 },
    /// It may not enter the directory that this child inherits, which an executed child need not enter.
    Barred,
}

// The numbers differ, so that a message read as one of another kind is an error.
impl Message for Greeting {
    const KIND: u8 = 1;
}

impl Message for ToWorker {
    const KIND: u8 = 2;

    /// The values that need the attachments are not decoded, which is the failure of their task alone.
    fn can_lose_descriptors(&self) -> bool {
        matches!(self, Self::Attachments { .. })
    }
}

impl Message for FromWorker {
    const KIND: u8 = 3;

    /// As [`ToWorker`]'s.
    fn can_lose_descriptors(&self) -> bool {
        matches!(self, Self::Attachments { .. })
    }
}

impl Message for ToForkServer {
    const KIND: u8 = 4;
}

impl Message for FromForkServer {
    const KIND: u8 = 5;
}

impl Message for ToSpare {
    const KIND: u8 = 6;
}

impl Message for FromChild {
    const KIND: u8 = 7;
}

impl Message for FromStdioHelper {
    const KIND: u8 = 8;
}
