//! Shared memory for values too large for a ring.
//!
//! The sender owns a parcel: it fills it, hands it over by number in a ring's frame, and gets it
//! back when the receiver has decoded the value. Its descriptor crosses once, over the control
//! socket, before the first frame that names it. Memory that was touched before is filled seven times
//! as fast as fresh memory, so parcels are kept for a while and used again.
//!
//! Between handing over and getting back the sender does not write. That is the protocol on which
//! the receiver's reading in place rests.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::codec;
use crate::codec::codec::EncodeFault;
use crate::sys::memory;
use crate::sys::memory::Mapping;

/// Sizes are rounded up to a power of two from here, so that parcels fit more than one value.
const SMALLEST: usize = 256 * 1024;

/// How many bytes of parcels a sender keeps for later. Beyond it they are given back to the kernel.
const KEPT_BYTES: usize = 256 << 20;

/// Memory for one large value, on its owner's side.
#[derive(Debug)]
pub(crate) struct Blob {
    id: u64,
    memory: OwnedFd,
    mapping: Mapping,
}

impl Blob {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Encodes `value`, which takes `len` bytes as [`codec::measure`] counted them.
    pub(crate) fn fill<T: Serialize + ?Sized>(
        &mut self,
        value: &T,
        len: usize,
    ) -> Result<(), EncodeFault> {
        let mut at = 0;
        codec::encode_with(value, |piece| {
            let fits = piece.len() <= len - at;
            if fits {
                self.mapping.write(at, piece);
                at += piece.len();
            }
            fits
        })?;
        if at == len {
            return Ok(());
        }
        Err(EncodeFault::Refused(
            "it was serialised to different lengths in a row".to_owned(),
        ))
    }

    fn capacity(&self) -> usize {
        self.mapping.len()
    }
}

impl AsFd for Blob {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

/// A value in a blob, and its attachments.
#[derive(Debug)]
pub(crate) struct PackedBlob {
    pub(crate) blob: Blob,
    pub(crate) len: usize,
    pub(crate) attachments: Vec<OwnedFd>,
}

impl PackedBlob {
    /// Duplicates of its attachments.
    pub(crate) fn clone_fds(&self) -> io::Result<Vec<OwnedFd>> {
        self.attachments.iter().map(OwnedFd::try_clone).collect()
    }
}

/// The parcels a sender has and does not use.
#[derive(Debug, Default)]
pub(crate) struct BlobPool {
    free: Vec<Blob>,
    kept: usize,
    last_id: u64,
}

impl BlobPool {
    /// A parcel for `len` bytes: one that was used before, or a new one. The caller fills it.
    pub(crate) fn take(&mut self, len: usize) -> io::Result<Blob> {
        let fitting = self
            .free
            .iter()
            .enumerate()
            .filter(|(_, parcel)| parcel.capacity() >= len)
            .min_by_key(|(_, parcel)| parcel.capacity());
        if let Some((index, _)) = fitting {
            let parcel = self.free.swap_remove(index);
            self.kept -= parcel.capacity();
            return Ok(parcel);
        }
        self.last_id += 1;
        let capacity = len.max(SMALLEST).next_power_of_two();
        let memory = memory::memfd("procession-parcel", capacity)?;
        let mapping = Mapping::whole(&memory, capacity)?;
        Ok(Blob {
            id: self.last_id,
            memory,
            mapping,
        })
    }

    /// Takes a parcel back. Returns the number of one that was given up, if any had to be.
    pub(crate) fn put_back(&mut self, parcel: Blob) -> Option<u64> {
        if self.kept + parcel.capacity() > KEPT_BYTES {
            return Some(parcel.id);
        }
        self.kept += parcel.capacity();
        self.free.push(parcel);
        None
    }

    /// Gives every kept parcel up and returns their numbers.
    pub(crate) fn trim(&mut self) -> Vec<u64> {
        self.kept = 0;
        self.free.drain(..).map(|parcel| parcel.id).collect()
    }

    /// How many bytes are kept.
    pub(crate) fn kept(&self) -> usize {
        self.kept
    }
}

/// What has come over the control socket and is named in a ring's frame: parcels and descriptors.
#[derive(Debug, Default)]
pub(crate) struct MappedBlobs {
    known: Mutex<Known>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Known {
    parcels: BTreeMap<u64, Arc<Mapping>>,
    attachments: BTreeMap<u64, Vec<OwnedFd>>,
}

impl MappedBlobs {
    /// Maps a parcel whose descriptor has come.
    pub(crate) fn add(&self, id: u64, memory: &OwnedFd) -> io::Result<()> {
        let len = memory::sealed_len(memory)?;
        let mapping = Arc::new(Mapping::whole(memory, len)?);
        self.lock().parcels.insert(id, mapping);
        self.arrived.notify_all();
        Ok(())
    }

    /// Forgets a parcel that the peer has given up.
    pub(crate) fn remove(&self, id: u64) {
        self.lock().parcels.remove(&id);
    }

    /// The parcel `id` if it has come.
    pub(crate) fn get(&self, id: u64) -> Option<Arc<Mapping>> {
        self.lock().parcels.get(&id).cloned()
    }

    /// The parcel `id`, waiting for it to come. Blocks.
    pub(crate) fn wait(&self, id: u64) -> Arc<Mapping> {
        self.wait_for(|known| known.parcels.get(&id).map(Arc::clone))
    }

    /// Keeps descriptors that have come until their values are decoded.
    pub(crate) fn add_attachments(&self, id: u64, fds: Vec<OwnedFd>) {
        self.lock().attachments.insert(id, fds);
        self.arrived.notify_all();
    }

    /// The descriptors that came under `id`.
    pub(crate) fn take_attachments(&self, id: u64) -> Option<Vec<OwnedFd>> {
        self.lock().attachments.remove(&id)
    }

    /// The descriptors that come under `id`, waiting for them. Blocks.
    pub(crate) fn wait_for_attachments(&self, id: u64) -> Vec<OwnedFd> {
        self.wait_for(|known| known.attachments.remove(&id))
    }

    fn wait_for<T>(&self, mut find: impl FnMut(&mut Known) -> Option<T>) -> T {
        let mut known = self.lock();
        loop {
            if let Some(found) = find(&mut known) {
                return found;
            }
            known = self
                .arrived
                .wait(known)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decodes the value in the first `len` bytes of a parcel that was handed over.
pub(crate) fn decode<T: DeserializeOwned>(parcel: &Mapping, len: usize) -> Result<T, String> {
    if len > parcel.len() {
        return Err("it says it is longer than the memory it came in".to_owned());
    }
    codec::decode(parcel.handed_over(len))
}
