//! The blobs in which a worker sends results that do not fit a frame.
//!
//! Runs in the worker, on both of its threads. The thread that runs tasks fills blobs; the thread that reads the
//! control socket frees them when the parent has read them.
//!
//! Must stay true: a blob that was handed over stays in use until the parent says that it has read it, or that it never
//! got the memory.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::codec::attachments::Attachments;
use crate::sys::exit_cause;
use crate::transfer::blob;
use crate::transfer::blob::{BlobLease, BlobPool};
use crate::transfer::control::ControlSocket;
use crate::transfer::messages::FromWorker;

/// The blobs of this worker: those it can fill, and those the parent has.
#[derive(Debug, Default)]
pub(crate) struct ResultBlobs {
    pool: Mutex<BlobPool>,
    /// The highest id whose memory the parent was sent. Ids grow, and one thread announces them.
    announced: AtomicU64,
}

/// A result in a blob.
pub(super) struct PackedResult {
    pub(super) id: u64,
    pub(super) len: u64,
    pub(super) attachments: Vec<OwnedFd>,
}

impl ResultBlobs {
    /// Blobs with ids above `base`.
    pub(super) fn above(base: u64) -> Self {
        Self {
            pool: Mutex::new(BlobPool::above(base)),
            announced: AtomicU64::new(base),
        }
    }

    /// The parent has read the blob `id`. Returns the id if the blob was removed, because enough are kept.
    pub(crate) fn returned(&self, id: u64) -> Option<u64> {
        self.lock().free(id)
    }

    /// The memory of the blob `id` did not reach the parent and never will: the blob is removed.
    pub(crate) fn lost(&self, id: u64) {
        self.lock().remove(id);
    }

    /// What was packed into the blob `id` is not sent.
    pub(super) fn unsent(&self, id: u64, control: &ControlSocket) {
        if let Some(id) = self.returned(id) {
            // If this fails, the parent keeps an unused mapping a while longer.
            let _ = control.send(&FromWorker::Forget { id }, &[]);
        }
    }

    /// Removes the blobs that are free; returns their ids.
    pub(crate) fn trim(&self) -> Vec<u64> {
        self.lock().trim()
    }

    /// Encodes `value` into a blob, and sends the parent its memory if the blob is new.
    ///
    /// # Errors
    ///
    /// Why the value cannot be encoded.
    pub(super) fn pack<T: Serialize>(
        &self,
        value: &T,
        control: &ControlSocket,
    ) -> Result<PackedResult, String> {
        let mut attached = Attachments::default();
        let encoded = blob::encode(value, &self.pool, &mut attached)?;
        self.announce(&encoded.lease, control)
            .map_err(|error| format!("no shared memory for it: {error}"))?;
        let id = encoded.lease.id();
        encoded.lease.hand_over();
        Ok(PackedResult {
            id,
            len: encoded.len as u64,
            attachments: attached.lend(),
        })
    }

    fn announce(&self, lease: &BlobLease, control: &ControlSocket) -> io::Result<()> {
        let id = lease.id();
        if id > self.announced.load(Ordering::Relaxed) {
            send_blocking(control, &FromWorker::Blob { id }, &[lease.as_fd()])?;
            self.announced.store(id, Ordering::Relaxed);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BlobPool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends the attachments of the reply `id`, if there are any.
pub(super) fn send_attachments(
    control: &ControlSocket,
    id: u64,
    fds: &[OwnedFd],
) -> io::Result<()> {
    if fds.is_empty() {
        return Ok(());
    }
    let fds: Vec<_> = fds.iter().map(OwnedFd::as_fd).collect();
    send_blocking(control, &FromWorker::Attachments { id }, &fds)
}

/// Sends a control message; waits while the socket is full. The parent never waits for a worker, so it reads.
fn send_blocking(
    control: &ControlSocket,
    message: &FromWorker,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    exit_cause::end_if_disconnected();
    loop {
        match control.send(message, fds) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                control.wait_writable()?;
            }
            other => return other,
        }
    }
}
