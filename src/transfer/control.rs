//! The messages of the control socket: rare, small, and each with the descriptors it speaks of.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::codec;
use crate::sys::socket;
use crate::sys::socket::{MESSAGE_BYTES, ReceiveResult};

/// Something said between a parent and its child beside the rings.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// Who the child is and what it does. Always the first. Carries what [`Greeting::descriptors`]
    /// counts.
    Hello(Box<Greeting>),
    /// Shared memory for values that are too large for a ring. Carries its descriptor.
    Blob { id: u64 },
    /// The sender will not use this parcel again.
    Forget { id: u64 },
    /// The receiver of this parcel has read it.
    Returned { id: u64 },
    /// This parcel never came to its receiver, whose descriptor table was full.
    Lost { id: u64 },
    /// The parcels that lie idle should be given back to the kernel.
    Trim,
    /// Descriptors of the values in a request or reply. Carries them.
    Baggage { id: u64 },
    /// The task should stop by itself.
    Cancel { task: u64 },
    /// The standard streams that the child was started with. Carries them.
    Streams,
    /// To a fork server: make a child. Carries what [`Birth`] lists.
    Fork(Box<ForkSpec>),
    /// To a fork server: make a child that waits to be told what it is to be. Carries what a process of one task has,
    /// memory and leash, and its end of its control socket.
    Spare,
    /// To a spare: be this child, and begin. Carries what [`Birth`] lists, and what the greeting does unless it is one
    /// of one task.
    Become(Box<ForkSpec>, Box<Greeting>),
    /// There is a child at the other end. From its fork server this carries the child's pidfd; the child
    /// says it too, in case the server did not live to.
    Born { pid: u32 },
    /// There will be no child at the other end.
    Refused(Refusal),
    /// What goes with the requests in the ring has been sent, all of it. To those who hear nothing more: a fork server
    /// that is being prepared, a process of one task.
    Ready,
    /// From a fork server: it is prepared. This is its environment, if that is short.
    Settled(Option<Block>),
}

/// How a forked child is to find itself.
///
/// Beside it come the child's end of its control socket (not to a spare, which has it), the directory to begin in, stdout
/// and stderr, and shared memory with the environment if that is too long to be in here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ForkSpec {
    pub(crate) environment: Environment,
    /// From the directory that comes beside.
    pub(crate) directory: Option<PathBuf>,
    /// Soft and hard limits, by the kernel's numbers.
    pub(crate) limits: Vec<(u64, u64)>,
    /// Whether it leads a session of its own.
    pub(crate) detached: bool,
}

/// Where a forked child's environment is: `K=V`, each with a zero behind it, sorted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Environment {
    /// The fork server's own.
    Yours,
    Here(Block),
    /// In the shared memory that comes beside, so many bytes long.
    Beside(usize),
}

/// Bytes, encoded in one piece.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Block(pub(crate) Vec<u8>);

impl Serialize for Block {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Block {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(|bytes| Self(bytes.to_vec()))
    }
}

/// Why a fork server made no child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refusal {
    /// It cannot: it has several threads, or the kernel does not let it.
    Unfit(String),
    /// This one it could not: the directory is none, there is no memory.
    This { errno: i32 },
}

/// Everything a child needs to know before it does anything.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Greeting {
    /// The image's table of tasks must be the one the parent has.
    pub(crate) fingerprint: u64,
    pub(crate) role: Role,
    pub(crate) parent: u32,
    pub(crate) name: Option<String>,
    pub(crate) pool: Option<String>,
    pub(crate) number: Option<usize>,
    /// Its nice value.
    pub(crate) priority: i32,
    /// The processors it may run on; if there are none, it stays as it is.
    pub(crate) processors: Vec<u32>,
    /// How many bytes it may take beyond what it has.
    pub(crate) memory_limit: Option<u64>,
    /// Other limits, by the kernel's numbers.
    pub(crate) limits: Vec<(u32, u64)>,
    /// Whether it goes on when its parent is gone.
    pub(crate) detached: bool,
    /// Standard slots whose descriptors come beside the message, in this order.
    pub(crate) streams: Vec<u32>,
}

/// What a child is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Runs tasks from its ring until it is told to stop. Carries memory and bell.
    Worker,
    /// Runs the one task in its ring, of which nobody hears before the end. Carries memory.
    Once,
    /// Gives its standard streams back and ends.
    Courier,
    /// Makes children by forking. Carries memory and bell if it is to be prepared first: the requests in
    /// the ring, up to the word to stop, are its preparation.
    ForkServer,
}

/// By how much the memory for messages grows, in bytes.
const BUFFER_STEP: usize = 1024;

thread_local! {
    // A thread's and not a socket's, and as long as the longest message so far: filling so much with zeros as the
    // longest may be takes longer than all else about a message.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One end of a control socket.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    socket: OwnedFd,
}

impl ControlSocket {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Sends `message` and descriptors without waiting.
    pub(crate) fn send(&self, message: &Message, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        codec::encode_to_vec(message, &mut bytes)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        socket::send(&self.socket, &bytes, fds)
    }

    /// Blocks until there is room to send.
    pub(crate) fn wait_writable(&self) -> io::Result<()> {
        socket::wait_writable(&self.socket)
    }

    /// Lets whoever receives here see the end, after what has come by now.
    pub(crate) fn stop_receiving(&self) -> io::Result<()> {
        socket::stop_receiving(&self.socket)
    }

    /// Receives the next message, or `None` at the end. Blocks only if told to `wait`; without,
    /// nothing to receive is [`io::ErrorKind::WouldBlock`].
    pub(crate) fn receive(&self, wait: bool) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
        let mut fds = Vec::new();
        let message = BUFFER.with_borrow_mut(|buffer| {
            if buffer.len() < MESSAGE_BYTES {
                match socket::peek_len(&self.socket, wait)? {
                    ReceiveResult::Message(len) if len > buffer.len() => {
                        buffer.resize(len.next_multiple_of(BUFFER_STEP), 0);
                    }
                    _ => {}
                }
            }
            match socket::receive(&self.socket, buffer, &mut fds, wait)? {
                ReceiveResult::End => Ok(None),
                ReceiveResult::Message(len) => codec::decode(&buffer[..len])
                    .map(Some)
                    .map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why)),
            }
        });
        Ok(message?.map(|message| (message, fds)))
    }
}

impl AsFd for ControlSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The descriptors of a message that carries exactly `N`.
pub(crate) fn exactly<const N: usize>(fds: Vec<OwnedFd>) -> io::Result<[OwnedFd; N]> {
    <[OwnedFd; N]>::try_from(fds).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::memory;

    #[test]
    fn a_message_and_its_descriptor_arrive_together_and_the_end_is_seen() {
        let (a, b) = socket::pair().unwrap();
        let (a, b) = (ControlSocket::new(a), ControlSocket::new(b));
        let memory = memory::memfd("test", 4096).unwrap();
        a.send(&Message::Blob { id: 3 }, &[memory.as_fd()]).unwrap();
        a.send(&Message::Cancel { task: 9 }, &[]).unwrap();
        drop(a);
        let (message, fds) = b.receive(true).unwrap().unwrap();
        assert!(matches!(message, Message::Blob { id: 3 }));
        assert_eq!(memory::sealed_len(&fds[0]).unwrap(), 4096);
        let (message, fds) = b.receive(true).unwrap().unwrap();
        assert!(matches!(message, Message::Cancel { task: 9 }) && fds.is_empty());
        assert!(b.receive(true).unwrap().is_none());
    }

    #[test]
    fn what_was_said_is_heard_though_its_sender_has_died_with_something_unread() {
        let (a, b) = socket::pair().unwrap();
        let (a, b) = (ControlSocket::new(a), ControlSocket::new(b));
        a.send(&Message::Cancel { task: 1 }, &[]).unwrap();
        b.send(&Message::Born { pid: 2 }, &[]).unwrap();
        drop(b);
        let (message, _) = a.receive(false).unwrap().unwrap();
        assert!(matches!(message, Message::Born { pid: 2 }));
        assert!(a.receive(false).unwrap().is_none());
    }

    #[test]
    fn more_descriptors_than_the_kernel_takes_are_refused() {
        let (a, _b) = socket::pair().unwrap();
        let fds = vec![a.as_fd(); socket::DESCRIPTORS_PER_MESSAGE + 1];
        assert!(socket::send(&a, b"x", &fds).is_err());
        assert!(socket::send(&a, b"x", &fds[1..]).is_ok());
    }
}
