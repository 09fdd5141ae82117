//! What a forked child inherits, as it is sent to a fork server or to a spare.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use super::env_block::EnvBlock;

/// The environment, directory and limits of a forked child.
///
/// These descriptors come with it, in this order: the application's working directory, stdout, stderr, and shared
/// memory with the environment if that is too long for a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ForkSpec {
    pub(crate) environment: EnvSource,
    /// Relative to the directory that comes with it. No `PathBuf`, which serde takes for text.
    pub(crate) directory: Option<OsString>,
    /// Soft and hard limits, by the kernel's numbers.
    pub(crate) limits: Vec<(u64, u64)>,
    /// Whether the child leads a session of its own.
    pub(crate) detached: bool,
}

/// Where a forked child's environment is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum EnvSource {
    /// It is the fork server's.
    OfForkServer,
    Inline(EnvBlock),
    /// In the shared memory that comes with the message; its length in bytes.
    Memory(usize),
}
