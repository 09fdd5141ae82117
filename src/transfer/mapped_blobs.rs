//! The blobs and attachments that came over a control socket and are named by an id in a frame.
//!
//! Runs in the worker, where one thread receives them and another waits for them, and in the parent, where one task
//! does both and never waits.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::mapped_blob::MappedBlob;

/// What has come over one control socket.
#[derive(Debug, Default)]
pub(crate) struct MappedBlobs {
    arrived: Mutex<Arrived>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Arrived {
    blobs: BTreeMap<u64, Arc<MappedBlob>>,
    attachments: BTreeMap<u64, Vec<OwnedFd>>,
}

impl MappedBlobs {
    /// Maps the blob `id`, whose memory has come.
    pub(crate) fn add(&self, id: u64, memory: &OwnedFd) -> io::Result<()> {
        let blob = Arc::new(MappedBlob::map(memory)?);
        self.lock().blobs.insert(id, blob);
        self.changed.notify_all();
        Ok(())
    }

    /// Unmaps the blob `id`, which its owner will not use again.
    pub(crate) fn remove(&self, id: u64) {
        self.lock().blobs.remove(&id);
    }

    /// How many blobs are mapped.
    pub(crate) fn mapped(&self) -> usize {
        self.lock().blobs.len()
    }

    /// How many sets of attachments wait to be taken.
    pub(crate) fn attached(&self) -> usize {
        self.lock().attachments.len()
    }

    /// The blob `id`, if it has come.
    pub(crate) fn get(&self, id: u64) -> Option<Arc<MappedBlob>> {
        self.lock().blobs.get(&id).cloned()
    }

    /// The blob `id`. Blocks until it has come.
    pub(crate) fn wait(&self, id: u64) -> Arc<MappedBlob> {
        self.wait_for(|arrived| arrived.blobs.get(&id).cloned())
    }

    /// Keeps descriptors until the values that need them are decoded.
    pub(crate) fn add_attachments(&self, id: u64, fds: Vec<OwnedFd>) {
        self.lock().attachments.insert(id, fds);
        self.changed.notify_all();
    }

    /// Takes the descriptors that came under `id`, if they have come.
    pub(crate) fn take_attachments(&self, id: u64) -> Option<Vec<OwnedFd>> {
        self.lock().attachments.remove(&id)
    }

    /// Takes the descriptors that come under `id`. Blocks until they have come.
    pub(crate) fn wait_for_attachments(&self, id: u64) -> Vec<OwnedFd> {
        self.wait_for(|arrived| arrived.attachments.remove(&id))
    }

    fn wait_for<T>(&self, mut find: impl FnMut(&mut Arrived) -> Option<T>) -> T {
        let mut arrived = self.lock();
        loop {
            if let Some(found) = find(&mut arrived) {
                return found;
            }
            arrived = self
                .changed
                .wait(arrived)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
