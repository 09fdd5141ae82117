//! Which cached values a worker was sent.
//!
//! Runs in the parent, beside the request ring: the memory of a value is on the control socket before the first request
//! that names the value is committed.

use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use super::control_queue::ControlQueue;
use crate::codec::cached::CachedMemory;
use crate::transfer::messages::ToWorker;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct SharedValues {
    /// The pool of the worker; 0 if it may be sent none.
    owner: u64,
    known: HashSet<u64>,
}

impl SharedValues {
    pub(super) fn belong_to(&mut self, owner: u64) {
        self.owner = owner;
    }

    /// Sends the worker those of the `values` that it does not have.
    ///
    /// # Errors
    ///
    /// No descriptor is left, or a value belongs to another pool.
    pub(super) fn send_all(
        &mut self,
        values: &[Arc<CachedMemory>],
        control: &mut ControlQueue,
    ) -> io::Result<()> {
        for value in values {
            if value.owner() != self.owner {
                return Err(io::Error::other(
                    "a cached value is an argument of another pool's call",
                ));
            }
            if !self.known.contains(&value.id()) {
                let memory = value.as_fd().try_clone_to_owned()?;
                let (id, len) = (value.id(), value.len() as u64);
                control.send(ToWorker::Cached { id, len }, vec![memory]);
                self.known.insert(id);
            }
        }
        Ok(())
    }

    /// Has the worker drop a value, if it was sent it.
    pub(super) fn forget(&mut self, id: u64, control: &mut ControlQueue) {
        if self.known.remove(&id) {
            control.send(ToWorker::Uncached { id }, Vec::new());
        }
    }
}
