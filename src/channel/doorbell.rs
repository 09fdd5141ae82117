//! The doorbell of a side: short messages in the socket, which wake what waits there.
//!
//! Descriptors go over the same socket as rings for receivers. A receiver that takes descriptors takes the rings
//! before them too, although the ring buffer may hold messages that other receivers were to be woken for. So
//! descriptors count as a ring for their own message, and the message after them rings again. Thus the socket always
//! holds something while the ring buffer holds a message behind the last received message with descriptors.
//!
//! Never here: the flags in shared memory that say whether to ring; `mpmc` and `spsc` keep them differently.

use std::io;
use std::os::fd::OwnedFd;

use super::fds::{DATA_RING_BYTES, SocketBuf, TAG_BYTES};
use crate::sys::socket;
use crate::sys::socket::ReceiveResult;

/// What is left in the socket after [`take_rings`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inbox {
    Empty,
    /// Descriptors of a message that is not committed yet.
    Descriptors,
    /// The end of the socket, or an error.
    Unknown,
    /// More rings than a socket holds: a process sends them without end.
    Flooded,
}

/// More messages than a socket holds, which has room for some 550 rings. What is taken at a time is bounded, so that a
/// process that sends without end does not keep a thread of this process.
const MOST_AT_ONCE: usize = 1024;

/// Wakes the other side for any reason.
pub(super) fn ring(socket: &OwnedFd) -> io::Result<()> {
    match socket::send(socket, b"!", &[]) {
        // The socket is full of rings that the other side has not taken: it will wake all the same.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        other => other,
    }
}

/// Wakes receivers for a message. The ring repeats the tag of the last descriptors, so that a receiver can tell whether
/// earlier descriptors were taken.
pub(super) fn ring_for_data(socket: &OwnedFd, last_tag: u64) -> io::Result<()> {
    let mut bytes = [b'!'; DATA_RING_BYTES];
    bytes[..TAG_BYTES].copy_from_slice(&last_tag.to_ne_bytes());
    socket::send(socket, &bytes, &[])
}

/// Takes what is in the socket out of it, and closes descriptors among it.
pub(super) fn drain(socket: &OwnedFd) {
    let mut buffer = SocketBuf::default();
    let mut fds = Vec::new();
    for _ in 0..MOST_AT_ONCE {
        match socket::receive(socket, &mut buffer, &mut fds, false) {
            Ok(ReceiveResult::Message(_) | ReceiveResult::WithoutFds(_)) => fds.clear(),
            // An empty message, or a long one, of a corrupted process.
            Ok(ReceiveResult::End) if !socket::is_hung_up(socket) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
            Ok(ReceiveResult::End) | Err(_) => return,
        }
    }
}

/// Takes the rings out of the socket up to the first descriptors; says whether there were any.
pub(super) fn take_rings(socket: &OwnedFd) -> (bool, Inbox) {
    let mut took = false;
    let mut buffer = SocketBuf::default();
    for _ in 0..MOST_AT_ONCE {
        match socket::peek(socket, &mut buffer) {
            Ok(ReceiveResult::Message(TAG_BYTES)) => return (took, Inbox::Descriptors),
            Ok(ReceiveResult::Message(_) | ReceiveResult::WithoutFds(_)) => {}
            // An empty message: left there, it would wake all that wait, again and again.
            Ok(ReceiveResult::End) if !socket::is_hung_up(socket) => {}
            Ok(ReceiveResult::End) => return (took, Inbox::Unknown),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (took, Inbox::Empty),
            Err(_) => return (took, Inbox::Unknown),
        }
        let _ = socket::receive(socket, &mut buffer, &mut Vec::new(), false);
        took = true;
    }
    (took, Inbox::Flooded)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What no process of this program sends: nothing, and more than a ring.
    #[test]
    fn messages_that_are_no_rings_are_taken_like_rings() {
        for take in [drain, |socket: &OwnedFd| assert!(take_rings(socket).0)] {
            let (attacker, socket) = socket::pair().unwrap();
            for len in [0, 1, 9, 100, 0] {
                rustix::net::send(
                    &attacker,
                    &[7; 100][..len],
                    rustix::net::SendFlags::DONTWAIT,
                )
                .unwrap();
            }
            take(&socket);
            let error = socket::peek(&socket, &mut SocketBuf::default()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
    }
}
