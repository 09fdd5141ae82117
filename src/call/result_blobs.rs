//! The blobs in which a worker sends results that do not fit a frame.
//!
//! Runs in the worker, on both of its threads: the one that runs tasks fills blobs, the one that reads the control
//! socket puts them back when the parent has read them.
//!
//! Must stay true: a blob that the parent may still read is in `away`, and is not written.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::codec::attachments;
use crate::codec::attachments::Bag;
use crate::codec::codec;
use crate::codec::codec::EncodeFault;
use crate::transfer::blob::{Blob, BlobPool};
use crate::transfer::control::ControlSocket;
use crate::transfer::messages::FromWorker;

/// The blobs of this worker: those it can fill, and those the parent has.
#[derive(Debug, Default)]
pub(crate) struct ResultBlobs(Mutex<Blobs>);

#[derive(Debug, Default)]
struct Blobs {
    pool: BlobPool,
    away: Vec<Blob>,
    /// The highest id whose memory the parent was sent.
    announced: u64,
}

/// A result in a blob.
pub(super) struct PackedResult {
    pub(super) id: u64,
    pub(super) len: u64,
    pub(super) attachments: Vec<OwnedFd>,
}

impl ResultBlobs {
    /// The parent has read the blob `id`. Returns the id if the blob was freed, because too many are kept.
    pub(crate) fn returned(&self, id: u64) -> Option<u64> {
        let mut blobs = self.lock();
        let index = blobs.away.iter().position(|blob| blob.id() == id)?;
        let blob = blobs.away.swap_remove(index);
        blobs.pool.put_back(blob)
    }

    /// The memory of the blob `id` did not reach the parent and never will: the blob is freed.
    pub(crate) fn lost(&self, id: u64) {
        self.lock().away.retain(|blob| blob.id() != id);
    }

    /// Frees the memory of the blobs that are kept; returns their ids.
    pub(crate) fn trim(&self) -> Vec<u64> {
        self.lock().pool.trim()
    }

    /// Encodes `value` into a blob, and sends the parent its memory if the blob is new.
    pub(super) fn pack<T: Serialize>(
        &self,
        value: &T,
        control: &ControlSocket,
    ) -> Result<PackedResult, EncodeFault> {
        let refused =
            |error: io::Error| EncodeFault::Refused(format!("no shared memory for it: {error}"));
        let len = attachments::filling(&mut Bag::default(), || codec::measure(value))?;
        let mut blobs = self.lock();
        let mut blob = blobs.pool.take(len).map_err(refused)?;
        let mut fds = Vec::new();
        attachments::packing(&mut fds, || blob.fill(value, len))?;
        let id = blob.id();
        if id > blobs.announced {
            let message = FromWorker::Blob { id };
            send_blocking(control, &message, &[blob.as_fd()]).map_err(refused)?;
            blobs.announced = id;
        }
        blobs.away.push(blob);
        Ok(PackedResult {
            id,
            len: len as u64,
            attachments: fds,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Blobs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends a control message; waits while the socket is full. The parent never waits for a worker, so it reads.
pub(super) fn send_blocking(
    control: &ControlSocket,
    message: &FromWorker,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    loop {
        match control.send(message, fds) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                control.wait_writable()?;
            }
            other => return other,
        }
    }
}
