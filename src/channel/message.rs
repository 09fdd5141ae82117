//! An encoded message: its bytes, or the shared memory with its bytes, and its descriptors.
//!
//! [`Outgoing`] lives in the sending process, [`Incoming`] in the receiving process. What must stay true: shared memory
//! is marked as in use from before it is filled until the receiver has decoded it, or until the message is dropped
//! unsent. Never here: the ring and the socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::shm::LONGEST_INLINE;
use crate::codec::attachments;
use crate::codec::attachments::{Bag, Received};
use crate::codec::codec;
use crate::codec::codec::EncodeFault;
use crate::codec::move_state::MoveState;
use crate::sys::buffer::{STACK_BUF_BYTES, StackBuf};
use crate::sys::memory;
use crate::sys::memory::Mapping;
use crate::sys::socket::DESCRIPTORS_PER_MESSAGE;

/// Where the value begins in memory of its own; before it, the word that says whether it is in use.
const VALUE: usize = 4096;
const IN_USE: usize = 0;

/// Memory that is smaller is not worth being asked for.
const SMALLEST: usize = 256 * 1024;

/// How many pieces of memory a sender keeps for its next long messages.
const KEPT: usize = 8;

/// How many bytes of them. A message that takes more is sent in memory that is not kept.
const KEPT_BYTES: usize = 256 << 20;

/// The largest piece of memory that a receiver keeps mapped, in bytes.
const SEEN_BYTES: usize = 64 << 20;

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
    hold: Option<Arc<Hold>>,
    bag: Bag,
}

/// Memory of its own for one long message.
#[derive(Debug)]
pub(super) struct Hold {
    memory: OwnedFd,
    mapping: Mapping,
}

impl Hold {
    fn is_free(&self) -> bool {
        self.mapping.word(IN_USE).load(Ordering::Acquire) == 0
    }

    fn room(&self) -> usize {
        self.mapping.len() - VALUE
    }
}

impl AsFd for Hold {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

/// The memory a sender keeps for long messages.
#[derive(Debug, Default)]
pub(super) struct Holds(Vec<Arc<Hold>>);

impl Holds {
    /// Whether a long message can be encoded without memory that was never used before.
    pub(super) fn ready(&self) -> bool {
        self.0.len() < KEPT || self.0.iter().any(|hold| hold.is_free())
    }

    fn take(&mut self, len: usize) -> io::Result<Arc<Hold>> {
        let fitting = self
            .0
            .iter()
            .filter(|hold| hold.is_free() && hold.room() >= len)
            .min_by_key(|hold| hold.room());
        let hold = match fitting {
            Some(hold) => Arc::clone(hold),
            None => self.make(len)?,
        };
        hold.mapping.word(IN_USE).store(1, Ordering::Release);
        Ok(hold)
    }

    fn make(&mut self, len: usize) -> io::Result<Arc<Hold>> {
        let size = VALUE + len.max(SMALLEST).next_power_of_two();
        let memory = memory::memfd("procession-message", size)?;
        let mapping = Mapping::whole(&memory, size)?;
        let hold = Arc::new(Hold { memory, mapping });
        if size <= KEPT_BYTES {
            self.make_room(size);
            self.0.push(Arc::clone(&hold));
        }
        Ok(hold)
    }

    /// Gives up free memory that is too small, or else the oldest: whoever reads it has it mapped.
    fn make_room(&mut self, size: usize) {
        let kept = |holds: &[Arc<Hold>]| holds.iter().map(|hold| hold.mapping.len()).sum::<usize>();
        while self.0.len() >= KEPT || (!self.0.is_empty() && kept(&self.0) + size > KEPT_BYTES) {
            let free = self.0.iter().position(|hold| hold.is_free());
            self.0.remove(free.unwrap_or(0));
        }
    }
}

impl Outgoing {
    /// Encodes `value` into `buf`, or into a vector if it does not fit `buf` and fits the ring.
    #[inline]
    pub(crate) fn encode<'b, T: Serialize>(
        value: &T,
        buf: &'b mut StackBuf,
    ) -> Result<Encoded<'b>, Refused> {
        let mut bag = Bag::default();
        let encoded = attachments::filling(&mut bag, || codec::encode_to_room(value, buf));
        match encoded {
            Ok(()) if bag.is_empty() => Ok(Encoded::Short(buf.bytes())),
            Ok(()) => Ok(Encoded::Outgoing(Self {
                body: buf.bytes().to_vec(),
                hold: None,
                bag,
            })),
            Err(EncodeFault::Full) => {
                // The ends inside stay here, so that they can leave with the next attempt.
                drop(bag);
                Self::encode_long_inline(value)
            }
            Err(EncodeFault::Refused(why)) => Err(Refused(why)),
        }
    }

    fn encode_long_inline<T: Serialize>(value: &T) -> Result<Encoded<'static>, Refused> {
        let mut bag = Bag::default();
        let mut body = Vec::with_capacity(2 * STACK_BUF_BYTES);
        let encoded = attachments::filling(&mut bag, || {
            codec::encode_bounded(value, &mut body, LONGEST_INLINE)
        });
        match encoded {
            Ok(()) => Ok(Encoded::Outgoing(Self {
                body,
                hold: None,
                bag,
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
            hold: None,
            bag: Bag::default(),
        }
    }

    /// Encodes `value` into shared memory of its own. May take long.
    pub(super) fn long<T: Serialize>(
        value: &T,
        holds: &std::sync::Mutex<Holds>,
    ) -> Result<Self, Refused> {
        let changed = || Refused("it was serialised to different lengths in a row".to_owned());
        let why = |fault| match fault {
            EncodeFault::Refused(why) => Refused(why),
            EncodeFault::Full => changed(),
        };
        let len =
            attachments::filling(&mut Bag::default(), || codec::measure(value)).map_err(why)?;
        let hold = holds
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take(len)
            .map_err(|error| Refused(format!("no shared memory for it: {error}")))?;
        // From here on, dropping the message makes its memory free again.
        let mut outgoing = Self {
            body: (len as u64).to_ne_bytes().to_vec(),
            hold: Some(Arc::clone(&hold)),
            bag: Bag::default(),
        };
        let mut gap = hold.mapping.write_cursor(VALUE, len);
        attachments::filling(&mut outgoing.bag, || {
            codec::encode_with(value, |piece| gap.put(piece))
        })
        .map_err(why)?;
        if gap.room() > 0 {
            return Err(changed());
        }
        if outgoing.bag.fds().len() >= DESCRIPTORS_PER_MESSAGE {
            let most = DESCRIPTORS_PER_MESSAGE - 1;
            return Err(Refused(format!(
                "a long message carries at most {most} descriptors"
            )));
        }
        Ok(outgoing)
    }

    /// The bytes of its frame.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whether it is in shared memory of its own.
    pub(super) fn is_long(&self) -> bool {
        self.hold.is_some()
    }

    /// Whether descriptors are sent ahead of it.
    pub(super) fn has_descriptors(&self) -> bool {
        self.hold.is_some() || !self.bag.fds().is_empty()
    }

    /// The descriptors that are sent ahead of it.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let hold = self.hold.iter().map(|hold| hold.as_fd());
        hold.chain(self.bag.fds().iter().map(AsFd::as_fd)).collect()
    }

    /// Whether the end with this state is inside the message.
    pub(super) fn moves(&self, move_state: &Arc<MoveState>) -> bool {
        self.bag.moves(move_state)
    }

    /// Stops all use of the ends inside it, until [`Outgoing::commit`] or [`Outgoing::unlock`].
    pub(super) fn lock(&self) {
        self.bag.shut();
    }

    /// It was not sent: the ends inside it can be used here again.
    pub(super) fn unlock(&self) {
        self.bag.open();
    }

    /// It was sent: the ends inside it are elsewhere, and its memory is the receiver's.
    pub(super) fn commit(&mut self) {
        self.hold = None;
        self.bag.sent();
    }
}

impl Drop for Outgoing {
    /// Makes the memory of a message that was not sent free again.
    fn drop(&mut self) {
        if let Some(hold) = &self.hold {
            hold.mapping.word(IN_USE).store(0, Ordering::Release);
        }
    }
}

/// The memory of long messages a receiver has seen, so that it need not be mapped again.
#[derive(Debug, Default)]
pub(super) struct Seen(Vec<(u64, Arc<Mapping>)>);

impl Seen {
    fn open(&mut self, memory: &OwnedFd) -> io::Result<Arc<Mapping>> {
        // Nobody else's as long as it is mapped here.
        let identity = memory::identity(memory)?;
        if let Some((_, mapping)) = self.0.iter().find(|(known, _)| *known == identity) {
            return Ok(Arc::clone(mapping));
        }
        let len = memory::sealed_len(memory)?;
        if len <= VALUE {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let mapping = Arc::new(Mapping::whole(memory, len)?);
        if len <= SEEN_BYTES {
            if self.0.len() >= 2 * KEPT {
                self.0.remove(0);
            }
            self.0.push((identity, Arc::clone(&mapping)));
        }
        Ok(mapping)
    }
}

/// A message that was taken out of the ring and is not decoded yet.
#[derive(Debug)]
pub(crate) struct Incoming {
    body: Vec<u8>,
    /// Its descriptors, if it was sent with any.
    bag: Option<Vec<OwnedFd>>,
    hold: Option<(Arc<Mapping>, usize)>,
    fault: Option<String>,
}

impl Incoming {
    pub(super) fn short(body: Vec<u8>, bag: Option<Vec<OwnedFd>>) -> Self {
        Self {
            body,
            bag,
            hold: None,
            fault: None,
        }
    }

    pub(super) fn long(body: &[u8], mut bag: Vec<OwnedFd>, seen: &mut Seen) -> Self {
        let len = body.try_into().map(u64::from_ne_bytes);
        let opened = match (len, bag.is_empty()) {
            (Ok(len), false) => {
                let memory = bag.remove(0);
                seen.open(&memory).map(|mapping| (mapping, len as usize))
            }
            _ => Err(io::Error::other(
                "its descriptor did not arrive; is the descriptor table full?",
            )),
        };
        let (hold, fault) = match opened {
            Ok((mapping, len)) if len <= mapping.len() - VALUE => (Some((mapping, len)), None),
            Ok(_) => (None, Some("it is longer than its memory".to_owned())),
            Err(error) => (None, Some(format!("its shared memory: {error}"))),
        };
        Self {
            body: Vec::new(),
            bag: Some(bag),
            hold,
            fault,
        }
    }

    /// The number of encoded bytes.
    pub(crate) fn len(&self) -> usize {
        self.hold.as_ref().map_or(self.body.len(), |(_, len)| *len)
    }

    /// Whether it is in shared memory of its own, which its sender may wait for.
    pub(crate) fn is_long(&self) -> bool {
        self.hold.is_some()
    }

    /// Decodes it. May take long if it is long.
    pub(crate) fn decode<T: DeserializeOwned>(mut self) -> Result<T, String> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let bag = self.bag.take();
        let decode = || match &self.hold {
            None => codec::decode(&self.body),
            Some((mapping, len)) => codec::decode(&mapping.handed_over(VALUE + len)[VALUE..]),
        };
        match bag {
            None => decode(),
            Some(bag) => attachments::unpacking(&mut Received::from(bag), decode),
        }
    }
}

impl Drop for Incoming {
    /// Makes its memory free again, whether it was decoded or not.
    fn drop(&mut self) {
        if let Some((mapping, _)) = &self.hold {
            mapping.word(IN_USE).store(0, Ordering::Release);
        }
    }
}
