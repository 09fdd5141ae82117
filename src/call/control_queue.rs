//! Control messages that wait until the worker's socket takes them, each with its descriptors.
//!
//! Runs in the parent, which must never wait for a worker: a message that the socket does not take now is sent later.
//!
//! Must stay true: messages are sent in the order in which they were queued, so attachments and blobs arrive before
//! the messages behind them.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use crate::sys::socket;
use crate::transfer::control::ControlSocket;
use crate::transfer::lane::Lane;
use crate::transfer::messages::ToWorker;

/// The messages to one worker that were not sent yet, oldest first.
#[derive(Debug)]
pub(super) struct ControlQueue {
    control: Arc<ControlSocket>,
    unsent: VecDeque<(ToWorker, Vec<OwnedFd>)>,
    /// The id of the last attachments.
    last_attachments: u64,
}

impl ControlQueue {
    pub(super) fn new(control: Arc<ControlSocket>, lane: Lane) -> Self {
        Self {
            control,
            unsent: VecDeque::new(),
            last_attachments: lane.id_base(),
        }
    }

    /// Sends `message` with `fds`, now or as soon as the socket takes it.
    pub(super) fn send(&mut self, message: ToWorker, fds: Vec<OwnedFd>) {
        self.unsent.push_back((message, fds));
        // An error leaves the message in the queue.
        let _ = self.flush();
    }

    /// Sends the attachments of the request that is committed next; returns their id, or 0 if there are none.
    ///
    /// # Errors
    ///
    /// They are so many that they need a bundle, and no descriptors are left for that. They were dropped.
    pub(super) fn send_attachments(&mut self, fds: Vec<OwnedFd>) -> io::Result<u64> {
        if fds.is_empty() {
            return Ok(0);
        }
        let id = self.last_attachments + 1;
        self.unsent.push_back((ToWorker::Attachments { id }, fds));
        match self.flush() {
            Err(error) if self.unsent.len() == 1 && socket::has_no_descriptors(&error) => {
                self.unsent.clear();
                return Err(error);
            }
            _ => self.last_attachments = id,
        }
        Ok(id)
    }

    /// Whether messages wait.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Sends what the socket takes now.
    ///
    /// # Errors
    ///
    /// Why some messages still wait: the socket is full, there is no kernel memory, or too many descriptors are in
    /// flight (`unix(7)`, `ETOOMANYREFS`).
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while let Some((message, fds)) = self.unsent.front() {
            let fds: Vec<_> = fds.iter().map(OwnedFd::as_fd).collect();
            match self.control.send(message, &fds) {
                // The worker has exited and needs no message.
                Err(error) if socket::is_end(&error) => {}
                other => other?,
            }
            self.unsent.pop_front();
        }
        Ok(())
    }
}
