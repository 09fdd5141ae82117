//! Descriptors of messages: they go over the socket, ahead of the message in the ring, under a tag that the message
//! repeats.
//!
//! More descriptors than a message of the socket takes go in a bundle ([`bundle`]), so that the receiver gets all of
//! them or none.
//!
//! Runs in the sending and in the receiving process. A sender that dies before it commits leaves descriptors that no
//! message names; the next receiver that looks for later ones closes them. A receiver that dies after it took the
//! descriptors takes the message along: the next holder of its lock sees that they are gone from the socket.
//! Never here: what to do when the socket is full, or the other side is gone; `end` decides that.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use crate::sys::bundle;
use crate::sys::socket;
use crate::sys::socket::{DESCRIPTORS_PER_MESSAGE, ReceiveResult};

/// The length of a socket message with descriptors: their tag.
pub(super) const TAG_BYTES: usize = 8;

/// The length of a socket message that rings the receivers' doorbell: the tag of the last descriptors before it, and
/// one byte more. A ring of the senders' doorbell is shorter than a tag.
pub(super) const DATA_RING_BYTES: usize = TAG_BYTES + 1;

/// The most socket messages that are taken in search of one tag. A socket holds fewer, unless a process sends without
/// end.
const MOST_BEFORE: usize = 4096;

/// Room for every socket message of a channel.
pub(super) type SocketBuf = [u8; 2 * TAG_BYTES];

/// Whether so many descriptors are sent in a bundle.
pub(super) fn are_bundled(count: usize) -> bool {
    count > DESCRIPTORS_PER_MESSAGE
}

/// Sends `fds` under `tag`, all or nothing.
pub(super) fn send(socket: &OwnedFd, tag: u64, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if !are_bundled(fds.len()) {
        return socket::send(socket, &tag.to_ne_bytes(), fds);
    }
    let carriers = bundle::pack(fds)?;
    let carriers: Vec<_> = carriers.iter().map(OwnedFd::as_fd).collect();
    socket::send(socket, &tag.to_ne_bytes(), &carriers)
}

/// Whether a send has failed because the socket is full, or because this user has too many descriptors in sockets.
pub(super) fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ETOOMANYREFS)
}

/// Takes the descriptors sent under `tag` out of the socket, and everything before them: rings of the doorbell, and
/// descriptors of messages that were never committed, which are closed. Empty if this process's descriptor table has no
/// room for all of them.
pub(super) fn receive(socket: &OwnedFd, tag: u64, is_bundle: bool) -> Vec<OwnedFd> {
    let fds = receive_message(socket, tag);
    match is_bundle {
        true => bundle::unpack(fds).unwrap_or_default(),
        false => fds,
    }
}

fn receive_message(socket: &OwnedFd, tag: u64) -> Vec<OwnedFd> {
    let mut has_seen_end = false;
    for _ in 0..MOST_BEFORE {
        let mut buffer = SocketBuf::default();
        let mut fds = Vec::new();
        match socket::receive(socket, &mut buffer, &mut fds, false) {
            Ok(ReceiveResult::Message(TAG_BYTES)) if buffer[..TAG_BYTES] == tag.to_ne_bytes() => {
                return fds;
            }
            Ok(ReceiveResult::WithoutFds(TAG_BYTES))
                if buffer[..TAG_BYTES] == tag.to_ne_bytes() =>
            {
                return Vec::new();
            }
            Ok(ReceiveResult::Message(_) | ReceiveResult::WithoutFds(_)) => {}
            // A sender that ends with unread bytes leaves one error in the socket, before what it sent.
            Ok(ReceiveResult::End) if !has_seen_end => has_seen_end = true,
            Ok(ReceiveResult::End) | Err(_) => return Vec::new(),
        }
    }
    Vec::new()
}

/// Whether the descriptors sent under `tag` were taken: the next socket message was sent after them.
pub(super) fn were_taken(socket: &OwnedFd, tag: u64) -> bool {
    let mut buffer = SocketBuf::default();
    let peeked = match socket::peek(socket, &mut buffer) {
        Ok(ReceiveResult::End) => socket::peek(socket, &mut buffer),
        other => other,
    };
    let Ok(ReceiveResult::Message(len)) = peeked else {
        return true;
    };
    let next = buffer[..TAG_BYTES].try_into().map_or(0, u64::from_ne_bytes);
    match len {
        TAG_BYTES => next > tag,
        // A ring comes after the descriptors whose tag it repeats.
        DATA_RING_BYTES => next >= tag,
        _ => false,
    }
}
