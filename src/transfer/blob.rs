//! Shared memory for values that are too large for a ring: the owner's side.
//!
//! Runs in the process that sends the value: the parent for arguments, the worker for results, any process for
//! messages of queues and pipes. The receiver's side is in `mapped_blob`.
//!
//! The owner takes a blob from its [`BlobPool`], fills it, and hands it over by an id in a frame, or by its descriptor.
//! Memory that was touched before is filled seven times as fast as fresh memory, so blobs are kept and filled again.
//!
//! Must stay true: a blob that is in use is not written by anyone but the holder of its [`BlobLease`], and not at all
//! once it is handed over. Three can make it free:
//!
//! - the lease, when it is dropped: the value was not sent, or is not needed any more (arguments);
//! - the pool, when a control message says that the receiver has decoded the value (results);
//! - the receiver, in the shared memory (messages of queues and pipes, which have no control socket).
//!
//! Never here: how descriptors travel.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::longest_value::too_long;
use crate::codec::attachments;
use crate::codec::attachments::Attachments;
use crate::codec::cached::CachedMemory;
use crate::codec::codec;
use crate::codec::codec::EncodeFault;
use crate::sys::memory;
use crate::sys::memory::{Mapping, SharedBytes};

/// Where the in-use word is in a blob's memory.
pub(super) const IN_USE: usize = 0;

/// Where the value begins: the next page, so that clearing the word does not touch a page of the value.
pub(super) const VALUE: usize = 4096;

/// Capacities are powers of two from here on, in bytes, so that a blob fits more than one value.
const LEAST_CAPACITY: usize = 256 * 1024;

/// How many bytes of free blobs a pool keeps. The others are given back to the kernel.
const MOST_KEPT_BYTES: usize = 256 << 20;

/// Shared memory for one value.
#[derive(Debug)]
struct Blob {
    id: u64,
    memory: OwnedFd,
    mapping: Mapping,
    /// Whether it is in use, unless its receiver says so in the memory. Other processes must not decide what is filled
    /// here.
    in_use: Option<AtomicBool>,
}

impl Blob {
    fn create(id: u64, len: usize, freed_by_receiver: bool) -> io::Result<Self> {
        let size = VALUE + len.max(LEAST_CAPACITY).next_power_of_two();
        let memory = memory::memfd("procession-blob", size)?;
        let mapping = Mapping::whole(&memory, size)?;
        Ok(Self {
            id,
            memory,
            mapping,
            in_use: (!freed_by_receiver).then(AtomicBool::default),
        })
    }

    /// The longest value that fits, in bytes.
    fn capacity(&self) -> usize {
        self.mapping.len() - VALUE
    }

    fn is_free(&self) -> bool {
        match &self.in_use {
            Some(in_use) => !in_use.load(Ordering::Acquire),
            None => self.mapping.word(IN_USE).load(Ordering::Acquire) == 0,
        }
    }

    fn set_in_use(&self) {
        self.set(true);
    }

    fn set_free(&self) {
        self.set(false);
    }

    fn set(&self, is_in_use: bool) {
        match &self.in_use {
            Some(in_use) => in_use.store(is_in_use, Ordering::Release),
            None => self
                .mapping
                .word(IN_USE)
                .store(is_in_use.into(), Ordering::Release),
        }
    }
}

/// A blob that is in use. Dropping the lease makes the blob free, unless it was handed over.
#[derive(Debug)]
pub(crate) struct BlobLease {
    blob: Arc<Blob>,
    is_handed_over: bool,
}

impl BlobLease {
    fn new(blob: Arc<Blob>) -> Self {
        blob.set_in_use();
        Self {
            blob,
            is_handed_over: false,
        }
    }

    /// The blob's id, which is unique in its pool.
    pub(crate) fn id(&self) -> u64 {
        self.blob.id
    }

    /// Leaves it to the receiver, or to [`BlobPool::free`], to make the blob free.
    pub(crate) fn hand_over(mut self) {
        self.is_handed_over = true;
    }

    /// The first `len` bytes of the value.
    pub(crate) fn bytes(&self, len: usize) -> SharedBytes<'_> {
        self.blob.mapping.shared(VALUE, len)
    }

    /// Encodes `value`, which takes `len` bytes as [`codec::measure`] counted them.
    fn fill<T: Serialize + ?Sized>(&mut self, value: &T, len: usize) -> Result<(), String> {
        let mut cursor = self.blob.mapping.write_cursor(VALUE, len);
        codec::encode_with(value, |piece| cursor.put(piece)).map_err(explain)?;
        match cursor.room() {
            0 => Ok(()),
            _ => Err(explain(EncodeFault::Full)),
        }
    }
}

impl AsFd for BlobLease {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.blob.memory.as_fd()
    }
}

impl Drop for BlobLease {
    fn drop(&mut self) {
        if !self.is_handed_over {
            self.blob.set_free();
        }
    }
}

/// A value in a blob.
#[derive(Debug)]
pub(crate) struct EncodedBlob {
    pub(crate) lease: BlobLease,
    /// The bytes of the value.
    pub(crate) len: usize,
}

/// A pool of blobs that threads share. Every worker has one: no worker can read or write what another was sent.
pub(crate) type BlobStore = Arc<Mutex<BlobPool>>;

/// The arguments of a call in a blob, and their attachments.
#[derive(Debug)]
pub(crate) struct PackedBlob {
    /// Where the blob is from.
    pub(crate) store: BlobStore,
    pub(crate) blob: EncodedBlob,
    pub(crate) attachments: Vec<OwnedFd>,
    /// Whether a pipe end moves with it.
    pub(crate) has_ends: bool,
    /// The cached values that it names.
    pub(crate) cached: Vec<Arc<CachedMemory>>,
}

impl PackedBlob {
    /// Gives the blob back to its store. Returns its id if it was removed, because enough are kept.
    pub(crate) fn put_back(self) -> Option<u64> {
        let Self { store, blob, .. } = self;
        let mut pool = store.lock().unwrap_or_else(PoisonError::into_inner);
        pool.put_back(blob.lease)
    }

    /// Duplicates of its attachments.
    pub(crate) fn clone_fds(&self) -> io::Result<Vec<OwnedFd>> {
        self.attachments.iter().map(OwnedFd::try_clone).collect()
    }
}

/// Encodes `value` into a blob from `pool`; the value's attachments go into `attached`. May take long.
///
/// # Errors
///
/// Why the value cannot be encoded.
pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
    pool: &Mutex<BlobPool>,
    attached: &mut Attachments,
) -> Result<EncodedBlob, String> {
    encode_within(u64::MAX, value, pool, attached)
}

/// The same, for a value that may take at most `longest` bytes.
pub(crate) fn encode_within<T: Serialize + ?Sized>(
    longest: u64,
    value: &T,
    pool: &Mutex<BlobPool>,
    attached: &mut Attachments,
) -> Result<EncodedBlob, String> {
    let measured = attachments::collect(&mut Attachments::default(), || codec::measure(value));
    let len = measured.map_err(explain)?;
    if len as u64 > longest {
        return Err(too_long(len as u64, longest));
    }
    let taken = pool
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take(len);
    let mut lease = taken.map_err(|error| format!("no shared memory for it: {error}"))?;
    attachments::collect(attached, || lease.fill(value, len))?;
    Ok(EncodedBlob { lease, len })
}

fn explain(fault: EncodeFault) -> String {
    match fault {
        EncodeFault::Refused(why) => why,
        EncodeFault::Full => "it was serialised to different lengths in a row".to_owned(),
    }
}

/// The blobs of one owner, free and in use. A bounded pool's blobs are made free by their receivers.
#[derive(Debug, Default)]
pub(crate) struct BlobPool {
    blobs: Vec<Arc<Blob>>,
    last_id: u64,
    /// The most blobs that are kept, if their number is limited.
    most: Option<usize>,
}

impl BlobPool {
    /// A pool that keeps at most `most` blobs, of at most 256 MiB together, whether they are free or not. A blob that
    /// is not kept is freed when its lease and its receivers are gone.
    pub(crate) fn bounded(most: usize) -> Self {
        Self {
            most: Some(most),
            ..Self::default()
        }
    }

    /// Whether there are no blobs, neither free nor in use.
    pub(crate) fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// A pool whose blobs have ids above `base`.
    pub(crate) fn above(base: u64) -> Self {
        Self {
            last_id: base,
            ..Self::default()
        }
    }

    /// Whether a blob is free, or can be added without another being removed.
    pub(crate) fn has_space(&self) -> bool {
        self.most.is_none_or(|most| self.blobs.len() < most) || self.has_free()
    }

    /// Whether a blob is free.
    pub(crate) fn has_free(&self) -> bool {
        self.blobs.iter().any(|blob| blob.is_free())
    }

    /// A blob for `len` bytes: the smallest free blob that fits, or a new blob.
    pub(crate) fn take(&mut self, len: usize) -> io::Result<BlobLease> {
        let fitting = self
            .blobs
            .iter()
            .filter(|blob| blob.capacity() >= len && blob.is_free())
            .min_by_key(|blob| blob.capacity());
        let blob = match fitting {
            Some(blob) => Arc::clone(blob),
            None => self.create(len)?,
        };
        Ok(BlobLease::new(blob))
    }

    fn create(&mut self, len: usize) -> io::Result<Arc<Blob>> {
        self.last_id += 1;
        let blob = Arc::new(Blob::create(self.last_id, len, self.most.is_some())?);
        if self.most.is_none() || self.make_space(blob.mapping.len()) {
            self.blobs.push(Arc::clone(&blob));
        }
        Ok(blob)
    }

    /// Removes free blobs, and else the oldest, until a blob of `size` bytes can be kept. False if it cannot.
    fn make_space(&mut self, size: usize) -> bool {
        let most = self.most.unwrap_or(usize::MAX);
        while size <= MOST_KEPT_BYTES && !self.blobs.is_empty() {
            let kept: usize = self.blobs.iter().map(|blob| blob.mapping.len()).sum();
            if self.blobs.len() < most && kept + size <= MOST_KEPT_BYTES {
                break;
            }
            let free = self.blobs.iter().position(|blob| blob.is_free());
            self.blobs.remove(free.unwrap_or(0));
        }
        size <= MOST_KEPT_BYTES
    }

    /// Takes back a blob whose value is not needed any more. Returns its id if it was removed, because enough are kept.
    pub(crate) fn put_back(&mut self, lease: BlobLease) -> Option<u64> {
        let id = lease.id();
        drop(lease);
        self.remove_surplus(id)
    }

    /// The receiver has decoded what was handed over in the blob `id`. Returns the id if the blob was removed, because
    /// enough are kept.
    pub(crate) fn free(&mut self, id: u64) -> Option<u64> {
        self.blobs.iter().find(|blob| blob.id == id)?.set_free();
        self.remove_surplus(id)
    }

    fn remove_surplus(&mut self, id: u64) -> Option<u64> {
        let free = self.blobs.iter().filter(|blob| blob.is_free());
        let kept: usize = free.map(|blob| blob.capacity()).sum();
        (kept > MOST_KEPT_BYTES && self.remove(id)).then_some(id)
    }

    /// Removes the blob `id`, free or not. False if the pool does not have it.
    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let index = self.blobs.iter().position(|blob| blob.id == id);
        index.map(|index| self.blobs.swap_remove(index)).is_some()
    }

    /// Removes all free blobs; returns their ids.
    pub(crate) fn trim(&mut self) -> Vec<u64> {
        let mut removed = Vec::new();
        self.blobs.retain(|blob| {
            let is_free = blob.is_free();
            if is_free {
                removed.push(blob.id);
            }
            !is_free
        });
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::mapped_blob::MappedBlob;

    fn blob_of(pool: &mut BlobPool, len: usize) -> BlobLease {
        pool.take(len).unwrap()
    }

    #[test]
    fn blob_is_filled_again_once_it_is_free() {
        let mut pool = BlobPool::default();
        let first = blob_of(&mut pool, 1);
        let id = first.id();
        let second = blob_of(&mut pool, 1);
        assert_ne!(id, second.id());
        drop(first);
        assert_eq!(blob_of(&mut pool, 1).id(), id);
    }

    #[test]
    fn blob_that_was_handed_over_is_freed_by_its_receiver_or_its_pool() {
        for freed_by_receiver in [true, false] {
            let mut pool = match freed_by_receiver {
                true => BlobPool::bounded(4),
                false => BlobPool::default(),
            };
            let lease = blob_of(&mut pool, 1);
            let received = MappedBlob::map(&lease.as_fd().try_clone_to_owned().unwrap()).unwrap();
            let id = lease.id();
            lease.hand_over();
            assert!(!pool.has_free());
            // In a pool that is not bounded, the word in the memory says nothing.
            received.set_free();
            assert_eq!(pool.has_free(), freed_by_receiver);
            assert_eq!(pool.free(id), None);
            assert!(pool.has_free());
            assert_eq!(blob_of(&mut pool, 1).id(), id);
        }
    }

    #[test]
    fn smallest_blob_that_fits_is_taken() {
        let mut pool = BlobPool::default();
        let large = blob_of(&mut pool, 4 * LEAST_CAPACITY);
        let small = blob_of(&mut pool, LEAST_CAPACITY);
        let ids = (large.id(), small.id());
        drop((large, small));
        assert_eq!(blob_of(&mut pool, 5).id(), ids.1);
        assert_eq!(blob_of(&mut pool, LEAST_CAPACITY + 1).id(), ids.0);
        assert_eq!(pool.trim(), [ids.0, ids.1]);
        assert_eq!(pool.trim(), []);
    }

    #[test]
    fn free_blobs_beyond_the_limit_are_removed() {
        let mut pool = BlobPool::default();
        let (kept, surplus) = (blob_of(&mut pool, MOST_KEPT_BYTES), blob_of(&mut pool, 1));
        let id = surplus.id();
        assert_eq!(pool.put_back(kept), None);
        assert_eq!(pool.put_back(surplus), Some(id));
    }

    #[test]
    fn bounded_pool_keeps_few_blobs_and_none_that_is_too_large() {
        let mut pool = BlobPool::bounded(2);
        let first = blob_of(&mut pool, 1);
        assert!(pool.has_space());
        let _second = blob_of(&mut pool, 1);
        assert!(!pool.has_space());
        drop(first);
        assert!(pool.has_space());
        let _third = blob_of(&mut pool, LEAST_CAPACITY + 1);
        assert_eq!(pool.blobs.len(), 2);
        let _huge = blob_of(&mut pool, MOST_KEPT_BYTES + 1);
        assert!(
            pool.blobs
                .iter()
                .all(|blob| blob.capacity() <= MOST_KEPT_BYTES)
        );
    }

    #[test]
    fn value_is_decoded_from_shared_memory() {
        let pool = Mutex::new(BlobPool::default());
        let value = "text".repeat(100_000);
        let encoded = encode(&value, &pool, &mut Attachments::default()).unwrap();
        let memory = encoded.lease.as_fd().try_clone_to_owned().unwrap();
        let mapped = MappedBlob::map(&memory).unwrap();
        assert_eq!(mapped.decode(encoded.len), Ok(value));
        assert!(mapped.decode::<String>(usize::MAX).is_err());
    }
}
