//! Bytes that one owner writes.

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsFd as _;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::buf::SharedBuf;
use crate::codec::attachments;
use crate::codec::error::record_fault;
use crate::codec::move_state::MoveState;
use crate::sys::writable_memory::WritableMemory;

/// Bytes in shared memory, written by one owner.
///
/// Sending it moves it to the receiver, which writes on where this process has stopped. It costs a descriptor, whatever
/// the length. A value that could not be sent can be used again. The memory is freed when it is dropped.
///
/// ```
/// use procession::memory::{SharedBuf, SharedBufMut};
///
/// fn render(mut picture: SharedBufMut) -> SharedBuf {
///     picture[0] = 255;
///     picture.freeze().unwrap()
/// }
///
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let picture = SharedBufMut::zeroed(640 * 480)?;
/// let picture = procession::spawn(render, picture).await?;
/// assert_eq!((picture.len(), picture[0]), (640 * 480, 255));
/// # Ok(())
/// # }
/// ```
///
/// # Panics
///
/// Reading or writing it after it was sent, or while it is. A message is sent by value, so only a `Serialize` of your
/// own that keeps a second pointer to it can do so.
///
/// # Errors
///
/// Serialising it is an error unless it is being sent as an argument, a result or a message, if the value has it twice,
/// or if it was sent before. A broadcast with a `SharedBufMut` among the arguments fails in the second worker that
/// receives it. A call with one is not [run again](crate::Run::retries).
#[doc(alias = "SharedMemory")]
#[must_use = "dropping it frees the memory"]
pub struct SharedBufMut {
    memory: WritableMemory,
    move_state: Arc<MoveState>,
    /// How often the memory had moved when it came here.
    moves: u64,
}

impl SharedBufMut {
    /// Makes `len` bytes of shared memory, all zero.
    ///
    /// All pages exist afterwards, so writing them does not fail. This takes time: some milliseconds for 64 MiB. On a
    /// runtime's thread, use `spawn_blocking` for more.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `len` is zero or more than an address space can have. `OutOfMemory` if the machine, or a
    /// control group of this process, does not have so much. `FileTooLarge` if the hard limit on the size of files is
    /// lower, and this process may not raise it. Any other error of the kernel, for example that no descriptor is left.
    pub fn zeroed(len: usize) -> io::Result<Self> {
        WritableMemory::zeroed(len).map(|memory| Self::new(memory, 0))
    }

    /// Seals the memory, so that no process can write it again.
    ///
    /// If another process still has it mapped for writing, which only a copy of this process made by `fork` or a sender
    /// that breaks the rules has, the bytes are copied first.
    ///
    /// # Errors
    ///
    /// It was sent to another process, or the kernel has no memory left. The bytes are lost then.
    pub fn freeze(self) -> io::Result<SharedBuf> {
        match self.move_state.is_here() {
            true => SharedBuf::seal(self.memory),
            false => Err(io::Error::other(SENT)),
        }
    }

    fn new(memory: WritableMemory, moves: u64) -> Self {
        Self {
            memory,
            move_state: Arc::default(),
            moves,
        }
    }

    fn assert_here(&self) {
        assert!(self.move_state.is_here(), "{SENT}");
    }
}

const SENT: &str = "the SharedBufMut was sent to another process, or is being sent";

impl Deref for SharedBufMut {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.assert_here();
        self.memory.bytes()
    }
}

impl DerefMut for SharedBufMut {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        self.assert_here();
        self.memory.bytes_mut()
    }
}

impl AsRef<[u8]> for SharedBufMut {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for SharedBufMut {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl fmt::Debug for SharedBufMut {
    /// Tells the length, not the bytes: there may be gigabytes of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBufMut")
            .field("len", &self.memory.len())
            .field("was_sent", &self.move_state.is_gone())
            .finish_non_exhaustive()
    }
}

impl Serialize for SharedBufMut {
    /// Moves the memory: once the value was sent, it cannot be used here.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        attachments::attach_end(&self.move_state, "a SharedBufMut").map_err(ser::Error::custom)?;
        let place = attachments::attach(self.memory.as_fd()).map_err(ser::Error::custom)?;
        (place, self.memory.len() as u64, self.moves).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedBufMut {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (place, len, moves) = <(u32, u64, u64)>::deserialize(deserializer)?;
        let fd = attachments::take(place).map_err(de::Error::custom)?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let opened = WritableMemory::open(fd, len).map_err(|error| error.to_string());
        let arrived = opened.and_then(|memory| match memory.count_move(moves) {
            Some(moves) => Ok(Self::new(memory, moves)),
            None => Err("a SharedBufMut was sent twice, and has arrived elsewhere".to_owned()),
        });
        record_fault(arrived).map_err(de::Error::custom)
    }
}
