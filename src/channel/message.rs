//! An encoded message: its bytes, or the shared memory with its bytes, and its descriptors.
//!
//! [`Outgoing`] lives in the sending process, [`Incoming`] in the receiving process. What must stay true: shared memory
//! is marked as in use from before it is filled until the receiver has decoded it, or until the message is dropped
//! unsent. Never here: the ring and the socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::shm::LONGEST_INLINE;
use crate::codec::attachments;
use crate::codec::attachments::{Attachments, ReceivedAttachments};
use crate::codec::codec;
use crate::codec::codec::EncodeFault;
use crate::codec::move_state::MoveState;
use crate::sys::buffer::{STACK_BUF_BYTES, StackBuf};
use crate::sys::memory::SharedBytes;
use crate::transfer::blob;
use crate::transfer::blob::{BlobPool, EncodedBlob};
use crate::transfer::mapped_blob::{MappedBlob, RecentBlobs};

/// The longest message that is copied or decoded where it is sent or received, in bytes: 1 MiB and its framing. Copying
/// it takes less time than waking another thread and being woken by it.
pub(super) const LONGEST_HANDLED_HERE: usize = (1 << 20) + 4096;

/// How many blobs a sender keeps for its next long messages.
const MOST_BLOBS: usize = 8;

/// Why a value cannot be sent.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) String);

/// What encoding a message came to.
#[derive(Debug)]
pub(crate) enum Encoded<'b> {
    /// All of it is in the caller's buffer. It has no descriptors.
    Short(&'b [u8]),
    Outgoing(Outgoing),
    /// It does not fit the ring, and needs shared memory of its own.
    TooLong,
}

/// An encoded message.
#[derive(Debug)]
pub(crate) struct Outgoing {
    body: Vec<u8>,
    /// The blob with its bytes, if it is long.
    blob: Option<EncodedBlob>,
    attachments: Attachments,
}

/// The bytes of a message, wherever they are.
#[derive(Debug)]
pub(super) enum Content<'a> {
    Here(&'a [u8]),
    InBlob(SharedBytes<'a>),
}

impl Content<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Here(bytes) => bytes.len(),
            Self::InBlob(bytes) => bytes.len(),
        }
    }
}

/// The pool of an end's long messages.
pub(super) fn blob_pool() -> BlobPool {
    BlobPool::bounded(MOST_BLOBS)
}

impl Outgoing {
    /// Encodes `value` into `buf`, or into a vector if it does not fit `buf` and fits the ring.
    #[inline]
    pub(crate) fn encode<'b, T: Serialize>(
        value: &T,
        buf: &'b mut StackBuf,
    ) -> Result<Encoded<'b>, Refused> {
        let mut attached = Attachments::default();
        let encoded = attachments::collect(&mut attached, || codec::encode_to_stack(value, buf));
        match encoded {
            Ok(()) if attached.is_empty() => Ok(Encoded::Short(buf.bytes())),
            Ok(()) => Ok(Encoded::Outgoing(Self {
                body: buf.bytes().to_vec(),
                blob: None,
                attachments: attached,
            })),
            Err(EncodeFault::Full) => {
                // The ends inside stay here, so that they can leave with the next attempt.
                drop(attached);
                Self::encode_long_inline(value)
            }
            Err(EncodeFault::Refused(why)) => Err(Refused(why)),
        }
    }

    fn encode_long_inline<T: Serialize>(value: &T) -> Result<Encoded<'static>, Refused> {
        let mut attached = Attachments::default();
        let mut body = Vec::with_capacity(2 * STACK_BUF_BYTES);
        let encoded = attachments::collect(&mut attached, || {
            codec::encode_bounded(value, &mut body, LONGEST_INLINE)
        });
        match encoded {
            Ok(()) => Ok(Encoded::Outgoing(Self {
                body,
                blob: None,
                attachments: attached,
            })),
            Err(EncodeFault::Full) => Ok(Encoded::TooLong),
            Err(EncodeFault::Refused(why)) => Err(Refused(why)),
        }
    }

    /// A message of these bytes, which waits to be sent.
    #[cold]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self {
            body: bytes.to_vec(),
            blob: None,
            attachments: Attachments::default(),
        }
    }

    /// Encodes `value` into a blob, if it takes at most `longest` bytes. May take long.
    pub(super) fn long<T: Serialize>(
        value: &T,
        pool: &Mutex<BlobPool>,
        longest: u64,
    ) -> Result<Self, Refused> {
        let mut attached = Attachments::default();
        let encoded = blob::encode_within(longest, value, pool, &mut attached).map_err(Refused)?;
        Ok(Self {
            body: (encoded.len as u64).to_ne_bytes().to_vec(),
            blob: Some(encoded),
            attachments: attached,
        })
    }

    /// The bytes of its frame.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The bytes of the message, wherever they are.
    pub(super) fn content(&self) -> Content<'_> {
        match &self.blob {
            Some(blob) => Content::InBlob(blob.lease.bytes(blob.len)),
            None => Content::Here(&self.body),
        }
    }

    /// Whether it is in shared memory of its own.
    pub(super) fn is_long(&self) -> bool {
        self.blob.is_some()
    }

    /// Whether a user's descriptors belong to it.
    pub(super) fn has_attachments(&self) -> bool {
        !self.attachments.is_empty()
    }

    /// Whether descriptors are sent ahead of it.
    pub(super) fn has_descriptors(&self) -> bool {
        self.descriptor_count() > 0
    }

    /// How many descriptors are sent ahead of it.
    pub(super) fn descriptor_count(&self) -> usize {
        usize::from(self.blob.is_some()) + self.attachments.fds().len()
    }

    /// The descriptors that are sent ahead of it.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let blob = self.blob.iter().map(|blob| blob.lease.as_fd());
        blob.chain(self.attachments.fds().iter().map(AsFd::as_fd))
            .collect()
    }

    /// Whether the end with this state is inside the message.
    pub(super) fn moves(&self, move_state: &Arc<MoveState>) -> bool {
        self.attachments.moves(move_state)
    }

    /// Stops all use of the ends inside it, until [`Outgoing::commit`] or [`Outgoing::unlock`].
    pub(super) fn lock(&self) {
        self.attachments.lock();
    }

    /// It was not sent: the ends inside it can be used here again.
    pub(super) fn unlock(&self) {
        self.attachments.unlock();
    }

    /// It was sent: the ends inside it are elsewhere, and its memory is the receiver's.
    pub(super) fn commit(&mut self) {
        if let Some(blob) = self.blob.take() {
            blob.lease.hand_over();
        }
        self.attachments.commit();
    }
}

/// A message that was taken out of the ring and is not decoded yet.
#[derive(Debug)]
pub(crate) struct Incoming {
    body: Vec<u8>,
    /// Its descriptors, if it was sent with any.
    fds: Option<Vec<OwnedFd>>,
    /// The blob with its bytes and their number, if it is long.
    blob: Option<(Arc<MappedBlob>, usize)>,
    fault: Option<String>,
}

impl Incoming {
    pub(super) fn short(body: Vec<u8>, fds: Option<Vec<OwnedFd>>) -> Self {
        Self {
            body,
            fds,
            blob: None,
            fault: None,
        }
    }

    /// A message that cannot be decoded, for this reason.
    pub(super) fn faulty(why: String) -> Self {
        let mut faulty = Self::short(Vec::new(), None);
        faulty.fault = Some(why);
        faulty
    }

    /// A message in the blob that is the first of `fds`, if it has at most `longest` bytes.
    pub(super) fn long(
        body: &[u8],
        mut fds: Vec<OwnedFd>,
        recent: &mut RecentBlobs,
        longest: u64,
    ) -> Self {
        let len = body.try_into().map(u64::from_ne_bytes);
        let opened = match (len, fds.is_empty()) {
            (Ok(len), false) => {
                let memory = fds.remove(0);
                recent.map(&memory).map(|blob| (blob, len as usize))
            }
            _ => Err(io::Error::other(
                "its descriptor did not arrive; is the descriptor table full?",
            )),
        };
        let (blob, fault) = match opened {
            // Its sender gets the memory back in either case.
            Ok((blob, len)) => {
                let fault = blob.check(len, longest).err();
                (Some((blob, len)), fault)
            }
            Err(error) => (None, Some(format!("its shared memory: {error}"))),
        };
        Self {
            body: Vec::new(),
            fds: Some(fds),
            blob,
            fault,
        }
    }

    /// The number of encoded bytes.
    pub(crate) fn len(&self) -> usize {
        self.blob.as_ref().map_or(self.body.len(), |(_, len)| *len)
    }

    /// Whether it is known not to decode.
    pub(super) fn is_faulty(&self) -> bool {
        self.fault.is_some()
    }

    /// Whether it is in shared memory of its own, which its sender may wait for.
    pub(crate) fn is_long(&self) -> bool {
        self.blob.is_some()
    }

    /// Decodes it. May take long if it is long.
    pub(crate) fn decode<T: DeserializeOwned>(mut self) -> Result<T, String> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let fds = self.fds.take();
        let decode = || match &self.blob {
            None => codec::decode(&self.body),
            Some((blob, len)) => blob.decode(*len),
        };
        match fds {
            None => decode(),
            Some(fds) => attachments::with_received(&mut ReceivedAttachments::from(fds), decode),
        }
    }
}

impl Drop for Incoming {
    /// Makes its memory free again, whether it was decoded or not.
    fn drop(&mut self) {
        if let Some((blob, _)) = &self.blob {
            blob.set_free();
        }
    }
}
