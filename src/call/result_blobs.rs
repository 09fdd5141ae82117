//! The parcels in which a worker sends results that fit no ring.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::codec::attachments;
use crate::codec::attachments::Bag;
use crate::codec::codec;
use crate::codec::codec::EncodeFault;
use crate::transfer::blob::{Blob, BlobPool};
use crate::transfer::control::ControlSocket;
use crate::transfer::messages::FromWorker;

/// Parcels this worker owns: those it can fill and those the parent has.
#[derive(Debug, Default)]
pub(crate) struct Outgoing(Mutex<OutgoingState>);

#[derive(Debug, Default)]
struct OutgoingState {
    store: BlobPool,
    away: Vec<Blob>,
    announced: u64,
}

impl Outgoing {
    /// The parent has read the parcel `id`. Returns its number if it was too large to be kept.
    pub(crate) fn came_back(&self, id: u64) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = state.away.iter().position(|parcel| parcel.id() == id)?;
        let parcel = state.away.swap_remove(index);
        state.store.put_back(parcel)
    }

    /// The parent does not know the parcel `id` and never will: another takes its place.
    pub(crate) fn is_lost(&self, id: u64) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.away.retain(|parcel| parcel.id() != id);
    }

    /// Gives the memory of idle parcels back to the kernel; returns their numbers.
    pub(crate) fn give_up(&self) -> Vec<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.store.give_up()
    }

    /// Fills a parcel with `value` and announces it, if it is new to the parent.
    pub(super) fn fill<T: Serialize>(
        &self,
        value: &T,
        control: &ControlSocket,
    ) -> Result<((u64, u64), Vec<OwnedFd>), EncodeFault> {
        let refused =
            |error: io::Error| EncodeFault::Refused(format!("no shared memory for it: {error}"));
        let mut bag = Vec::new();
        let len = attachments::filling(&mut Bag::default(), || codec::measure(value))?;
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut parcel = state.store.take(len).map_err(refused)?;
        attachments::packing(&mut bag, || parcel.fill(value, len))?;
        let id = parcel.id();
        if id > state.announced {
            let message = FromWorker::Blob { id };
            send_patiently(control, &message, &[parcel.as_fd()]).map_err(refused)?;
            state.announced = id;
        }
        state.away.push(parcel);
        Ok(((id, len as u64), bag))
    }
}

/// Sends from the worker's thread, which may wait: the parent reads when it can.
pub(super) fn send_patiently(
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
