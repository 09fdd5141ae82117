//! The message that a spare waits for.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::inherited_state::InheritedFds;
use crate::transfer::control::ControlSocket;
use crate::transfer::messages::ToSpare;

/// Tells a spare which child it becomes. Dropped unsent, it leaves the spare waiting.
pub(super) struct Release {
    control: Arc<ControlSocket>,
    message: ToSpare,
    fds: InheritedFds,
    after: Option<AfterRelease>,
}

/// What is done once the release was sent.
type AfterRelease = Box<dyn FnOnce() + Send + Sync>;

impl Release {
    pub(super) fn new(control: Arc<ControlSocket>, message: ToSpare, fds: InheritedFds) -> Self {
        Self {
            control,
            message,
            fds,
            after: None,
        }
    }

    /// Sets what is done once the release was sent.
    pub(super) fn then(&mut self, after: impl FnOnce() + Send + Sync + 'static) {
        self.after = Some(Box::new(after));
    }

    /// Does now what would be done once the release was sent.
    pub(super) fn complete_early(&mut self) {
        if let Some(after) = self.after.take() {
            after();
        }
    }

    /// Sends the release, with `role_fds` behind what the child inherits.
    pub(super) fn send(mut self, role_fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.fds
            .send(&self.control, &self.message, None, role_fds)?;
        self.complete_early();
        Ok(())
    }
}

impl fmt::Debug for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Release").finish_non_exhaustive()
    }
}
