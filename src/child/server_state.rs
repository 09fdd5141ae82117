//! What a fork server has, and so each fork before it adopts anything.

use std::sync::OnceLock;

use crate::sys::fork::MainThread;
use crate::sys::limits;
use crate::sys::prefault::Pages;
use crate::transfer::env_block::EnvBlock;

/// Never freed: forks that freed it would write to pages that they would otherwise share.
static STATE: OnceLock<ServerState> = OnceLock::new();

/// The state that a fork server hands down.
#[derive(Debug)]
pub(super) struct ServerState {
    pub(super) environment: EnvBlock,
    pub(super) limits: Vec<(u64, u64)>,
    pub(super) thread: MainThread,
    /// The pages that each fork writes to.
    pub(super) written_pages: Pages,
}

impl ServerState {
    /// Of this process, whose main thread calls this.
    pub(super) fn capture() -> &'static Self {
        STATE.get_or_init(|| Self {
            environment: EnvBlock::of_this_process(),
            limits: limits::all(),
            thread: MainThread::ask(),
            written_pages: Pages::find(),
        })
    }
}
