//! The first message to a child: who it is and what it does.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Everything a child needs to know before it does anything.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Greeting {
    /// Of the image. It must be the child's own, or the two tables of tasks differ.
    pub(crate) fingerprint: u64,
    pub(crate) role: Role,
    /// The parent's pid.
    pub(crate) parent: u32,
    pub(crate) name: Option<String>,
    /// The name of the worker's pool.
    pub(crate) pool: Option<String>,
    /// The worker's number in its pool.
    pub(crate) number: Option<usize>,
    /// How many lanes the worker has beside the first.
    pub(crate) other_lanes: usize,
    /// What the seeds of the worker's tasks follow from.
    pub(crate) seed: Option<u64>,
    /// Where the worker may make a directory.
    pub(crate) scratch: Option<PathBuf>,
    /// The control group that the child enters.
    pub(crate) cgroup: Option<GroupToEnter>,
    /// The child's nice value.
    pub(crate) nice: i32,
    /// The processors the child may run on; empty to leave them as they are.
    pub(crate) processors: Vec<u32>,
    /// In bytes, beyond the child's memory at its start.
    pub(crate) memory_limit: Option<u64>,
    /// How much processor time each task of a worker may use.
    pub(crate) task_cpu_time: Option<Duration>,
    /// Other limits, by the kernel's numbers.
    pub(crate) limits: Vec<(u32, u64)>,
    /// Whether the child outlives its parent.
    pub(crate) detached: bool,
    /// The standard slots whose descriptors come with the greeting, in this order, behind those of the role.
    pub(crate) stdio_slots: Vec<u32>,
}

/// A control group that a child enters before anything else.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct GroupToEnter {
    /// Its directory. No `PathBuf`, which serde takes for text.
    pub(crate) path: OsString,
    /// Whether the child ends if it cannot.
    pub(crate) required: bool,
}

/// What a child is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Runs the requests in its ring until it is told to stop. The greeting carries memory, doorbell and parent-death
    /// pipe.
    Worker,
    /// Runs the one request in its ring. The greeting carries memory and parent-death pipe.
    Single,
    /// Sends its stdin back and exits.
    StdioHelper,
    /// Forks children. With a preload the greeting carries memory, doorbell and parent-death pipe: the requests in the
    /// ring, up to the stop frame, are the preload.
    ForkServer,
}
