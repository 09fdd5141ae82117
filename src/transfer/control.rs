//! The control socket: rare, small messages, each with the descriptors it names.
//!
//! One end is the parent's, the other the child's. More descriptors than the kernel takes with a message go in a
//! bundle. Must stay true:
//! - A message and its descriptors arrive together or not at all. The exception is a message that can do without them:
//!   it arrives alone if the receiver's descriptor table has no room for them.
//! - The end of the socket is seen after everything that was sent before it.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::greeting::Greeting;
use crate::codec::codec;
use crate::sys::bundle;
use crate::sys::process_mark::LocalFd;
use crate::sys::socket;
use crate::sys::socket::{DESCRIPTORS_PER_MESSAGE, MESSAGE_BYTES, ReceiveResult};

/// One kind of messages: those of one sender to one receiver.
pub(crate) trait Message: Serialize + DeserializeOwned {
    /// The first byte of each such message. Without [`IS_BUNDLED`].
    const KIND: u8;

    /// Whether the receiver can tell a message whose descriptors did not arrive, and do without them.
    fn can_lose_descriptors(&self) -> bool {
        false
    }
}

/// A bit of a message's first byte: its descriptors are in a bundle.
const IS_BUNDLED: u8 = 1 << 7;

/// The messages that can arrive at one end of a socket: one kind, or [`Either`] of two.
pub(crate) trait Expected: Sized {
    fn decode(kind: u8, body: &[u8]) -> Result<Self, String>;

    /// See [`Message::can_lose_descriptors`].
    fn can_lose_descriptors(&self) -> bool;
}

impl<M: Message> Expected for M {
    fn decode(kind: u8, body: &[u8]) -> Result<Self, String> {
        match kind == M::KIND {
            true => codec::decode(body),
            false => Err(format!("a message of kind {kind} is not expected here")),
        }
    }

    fn can_lose_descriptors(&self) -> bool {
        Message::can_lose_descriptors(self)
    }
}

/// A message of one of two kinds that arrive at the same end of a socket.
#[derive(Debug)]
pub(crate) enum Either<A, B> {
    Left(A),
    Right(B),
}

impl<A: Message, B: Message> Expected for Either<A, B> {
    fn decode(kind: u8, body: &[u8]) -> Result<Self, String> {
        match kind == A::KIND {
            true => codec::decode(body).map(Self::Left),
            false => B::decode(kind, body).map(Self::Right),
        }
    }

    fn can_lose_descriptors(&self) -> bool {
        match self {
            Self::Left(message) => Message::can_lose_descriptors(message),
            Self::Right(message) => Message::can_lose_descriptors(message),
        }
    }
}

/// By how much the buffer for messages grows, in bytes.
const BUFFER_STEP: usize = 1024;

thread_local! {
    // A thread's and not a socket's, and as long as the longest message so far: to zero a buffer for the longest
    // possible message takes longer than everything else about a message.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One end of a control socket.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    socket: Arc<LocalFd>,
}

impl ControlSocket {
    /// A copy of this process does not keep the socket open: the other side would not see the end of this process.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self {
            socket: Arc::new(LocalFd::new(socket)),
        }
    }

    /// The socket, which is open until all its holders have dropped it.
    pub(crate) fn shared(&self) -> Arc<LocalFd> {
        Arc::clone(&self.socket)
    }

    /// Sends `message` with `fds` and does not wait.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if the socket is full; too few descriptors are left for a bundle, or too many are
    /// in flight.
    pub(crate) fn send<M: Message>(&self, message: &M, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut bytes = vec![M::KIND];
        codec::encode_to_vec(message, &mut bytes)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        if fds.len() <= DESCRIPTORS_PER_MESSAGE {
            return socket::send(&self.socket, &bytes, fds);
        }
        bytes[0] |= IS_BUNDLED;
        let carriers = bundle::pack(fds)?;
        let carriers: Vec<_> = carriers.iter().map(OwnedFd::as_fd).collect();
        socket::send(&self.socket, &bytes, &carriers)
    }

    /// Blocks until the socket has room, or the other end is closed.
    pub(crate) fn wait_writable(&self) -> io::Result<()> {
        socket::wait_writable(&self.socket)
    }

    /// Receivers at this end, in all threads, see the end of the socket after the messages that have arrived.
    pub(crate) fn stop_receiving(&self) -> io::Result<()> {
        socket::stop_receiving(&self.socket)
    }

    /// Receives the next message, or `None` at the end of the socket. Blocks.
    pub(crate) fn recv<E: Expected>(&self) -> io::Result<Option<(E, Vec<OwnedFd>)>> {
        self.recv_with(true)
    }

    /// Receives the next message, or `None` at the end of the socket.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if no message has arrived.
    pub(crate) fn try_recv<E: Expected>(&self) -> io::Result<Option<(E, Vec<OwnedFd>)>> {
        self.recv_with(false)
    }

    /// Receives the first message to a child, or `None` if the parent has ended. Blocks.
    pub(crate) fn recv_greeting(&self) -> io::Result<Option<(Greeting, Vec<OwnedFd>)>> {
        self.recv()
    }

    fn recv_with<E: Expected>(&self, wait: bool) -> io::Result<Option<(E, Vec<OwnedFd>)>> {
        let mut fds = Vec::new();
        let received = BUFFER.with_borrow_mut(|buffer| {
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
                ReceiveResult::Message(len) => decode(&buffer[..len], true).map(Some),
                ReceiveResult::WithoutFds(len) => decode(&buffer[..len], false).map(Some),
            }
        });
        let Some((message, delivery)) = received? else {
            return Ok(None);
        };
        match delivery.unpack(fds) {
            Ok(fds) => Ok(Some((message, fds))),
            Err(_) if Expected::can_lose_descriptors(&message) => Ok(Some((message, Vec::new()))),
            Err(error) => Err(error),
        }
    }
}

/// How the descriptors of a message have arrived.
enum Delivery {
    Whole,
    Bundled,
    Lost,
}

impl Delivery {
    fn unpack(self, fds: Vec<OwnedFd>) -> io::Result<Vec<OwnedFd>> {
        match self {
            Self::Whole => Ok(fds),
            Self::Bundled => bundle::unpack(fds),
            Self::Lost => Err(socket::fds_are_missing()),
        }
    }
}

/// The message in `bytes`, whose descriptors have arrived if `has_fds` is set.
fn decode<E: Expected>(bytes: &[u8], has_fds: bool) -> io::Result<(E, Delivery)> {
    let [kind, body @ ..] = bytes else {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    };
    let delivery = match kind & IS_BUNDLED {
        _ if !has_fds => Delivery::Lost,
        0 => Delivery::Whole,
        _ => Delivery::Bundled,
    };
    match E::decode(kind & !IS_BUNDLED, body) {
        Ok(message) => Ok((message, delivery)),
        Err(why) => Err(io::Error::new(io::ErrorKind::InvalidData, why)),
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
    use crate::transfer::messages::{FromChild, FromWorker, ToWorker};

    fn pair() -> (ControlSocket, ControlSocket) {
        let (a, b) = socket::pair().unwrap();
        (ControlSocket::new(a), ControlSocket::new(b))
    }

    #[test]
    fn message_arrives_with_its_descriptor_and_the_end_after_it() {
        let (a, b) = pair();
        let memory = memory::memfd("test", 4096).unwrap();
        a.send(&ToWorker::Blob { id: 3 }, &[memory.as_fd()])
            .unwrap();
        a.send(
            &ToWorker::Cancel {
                request: 9,
                lane: 0,
            },
            &[],
        )
        .unwrap();
        drop(a);
        let (message, fds) = b.recv().unwrap().unwrap();
        assert!(matches!(message, ToWorker::Blob { id: 3 }));
        assert_eq!(memory::sealed_len(&fds[0]).unwrap(), 4096);
        let (message, fds) = b.recv().unwrap().unwrap();
        assert!(matches!(message, ToWorker::Cancel { request: 9, .. }) && fds.is_empty());
        assert!(b.recv::<ToWorker>().unwrap().is_none());
    }

    #[test]
    fn message_arrives_though_its_sender_died_with_unread_bytes() {
        let (a, b) = pair();
        a.send(
            &ToWorker::Cancel {
                request: 1,
                lane: 0,
            },
            &[],
        )
        .unwrap();
        b.send(&FromChild::Forked { pid: 2 }, &[]).unwrap();
        drop(b);
        let (message, _) = a.try_recv().unwrap().unwrap();
        assert!(matches!(message, FromChild::Forked { pid: 2 }));
        assert!(a.try_recv::<FromChild>().unwrap().is_none());
    }

    #[test]
    fn message_of_an_unexpected_kind_is_an_error() {
        let (a, b) = pair();
        a.send(&FromWorker::Forget { id: 1 }, &[]).unwrap();
        let error = b.try_recv::<ToWorker>().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn two_kinds_arrive_in_order() {
        let (a, b) = pair();
        a.send(&FromWorker::Forget { id: 1 }, &[]).unwrap();
        a.send(&FromChild::Forked { pid: 2 }, &[]).unwrap();
        let recv = || {
            b.try_recv::<Either<FromChild, FromWorker>>()
                .unwrap()
                .unwrap()
                .0
        };
        assert!(matches!(
            recv(),
            Either::Right(FromWorker::Forget { id: 1 })
        ));
        assert!(matches!(recv(), Either::Left(FromChild::Forked { pid: 2 })));
    }

    #[test]
    fn more_descriptors_than_the_kernel_takes_come_in_a_bundle() {
        let (a, b) = pair();
        let memory = memory::memfd("test", 4096).unwrap();
        let fds = vec![memory.as_fd(); DESCRIPTORS_PER_MESSAGE + 1];
        assert!(socket::send(&a, b"x", &fds).is_err());
        a.send(&ToWorker::Attachments { id: 5 }, &fds).unwrap();
        let (message, arrived) = b.recv().unwrap().unwrap();
        assert!(matches!(message, ToWorker::Attachments { id: 5 }));
        assert_eq!(arrived.len(), fds.len());
        assert_eq!(memory::sealed_len(&arrived[253]).unwrap(), 4096);
    }
}
