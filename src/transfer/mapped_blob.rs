//! Shared memory for values that are too large for a ring: the receiver's side.
//!
//! Runs in the process that decodes the value. Mapping memory takes longer than decoding from it, so what was mapped
//! stays mapped: by id until the owner says that it forgets the blob ([`MappedBlobs`](super::mapped_blobs)), or the
//! last few of them ([`RecentBlobs`]).
//!
//! Must stay true: nothing is read in place, because the owner can write at any time: what is checked is a copy. The
//! length that came with a value is checked against the memory, against a limit, and against what was ever written.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::de::DeserializeOwned;

use super::blob::{IN_USE, VALUE};
use super::longest_value::too_long;
use crate::codec::codec;
use crate::sys::memory;
use crate::sys::memory::Mapping;

/// The most blobs that [`RecentBlobs`] keeps mapped.
const MOST_RECENT: usize = 16;

/// The largest blob that [`RecentBlobs`] keeps mapped, in bytes.
const LARGEST_RECENT: usize = 64 << 20;

/// Blobs of more bytes are checked for pages that do not exist.
const LONGEST_UNCHECKED: usize = 64 << 20;

/// A blob of another process.
#[derive(Debug)]
pub(crate) struct MappedBlob {
    mapping: Mapping,
    /// The memory, if it is so long that it must be checked.
    memory: Option<OwnedFd>,
}

impl MappedBlob {
    /// Maps a blob whose descriptor has arrived.
    ///
    /// # Errors
    ///
    /// The memory is not that of a blob, or the kernel cannot map it.
    pub(crate) fn map(memory: &OwnedFd) -> io::Result<Self> {
        let len = memory::sealed_len(memory)?;
        if len <= VALUE {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let checked = len > LONGEST_UNCHECKED;
        Ok(Self {
            mapping: Mapping::whole(memory, len)?,
            memory: checked.then(|| memory.try_clone()).transpose()?,
        })
    }

    /// Whether a value of `len` bytes can be in it, and may be taken where at most `limit` bytes are. The error says
    /// why not.
    pub(crate) fn check(&self, len: usize, limit: u64) -> Result<(), String> {
        if !self.holds(len) {
            return Err("it says it is longer than the memory it came in".to_owned());
        }
        if len as u64 > limit {
            return Err(too_long(len as u64, limit));
        }
        match &self.memory {
            Some(memory) if len > LONGEST_UNCHECKED && !memory::has_bytes(memory, len) => {
                Err("it is longer than what was written".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Whether a value of `len` bytes can be in it.
    pub(crate) fn holds(&self, len: usize) -> bool {
        len <= self.mapping.len() - VALUE
    }

    /// Decodes the value in its first `len` bytes.
    pub(crate) fn decode<T: DeserializeOwned>(&self, len: usize) -> Result<T, String> {
        if !self.holds(len) {
            return Err("it says it is longer than the memory it came in".to_owned());
        }
        codec::decode_shared(self.mapping.shared(VALUE, len))
    }

    /// Lets the owner fill the blob again, without a message to it.
    pub(crate) fn set_free(&self) {
        self.mapping.word(IN_USE).store(0, Ordering::Release);
    }
}

/// The blobs that arrived last, by the identity of their memory.
#[derive(Debug, Default)]
pub(crate) struct RecentBlobs(Vec<((u64, u64), Arc<MappedBlob>)>);

impl RecentBlobs {
    /// The blob with this memory, mapped now or before.
    pub(crate) fn map(&mut self, memory: &OwnedFd) -> io::Result<Arc<MappedBlob>> {
        // Unique, because the kernel does not reuse it while the memory is mapped here.
        let identity = memory::device_and_inode(memory)?;
        if let Some((_, blob)) = self.0.iter().find(|(known, _)| *known == identity) {
            return Ok(Arc::clone(blob));
        }
        let blob = Arc::new(MappedBlob::map(memory)?);
        if blob.mapping.len() <= LARGEST_RECENT {
            if self.0.len() >= MOST_RECENT {
                self.0.remove(0);
            }
            self.0.push((identity, Arc::clone(&blob)));
        }
        Ok(blob)
    }
}
