//! A pair of sockets that keep message boundaries and carry descriptors beside the bytes.
//!
//! `SOCK_SEQPACKET` (`unix(7)`): one `send` is one `receive`, descriptors belong to exactly the
//! message they were sent with, and the kernel says when nobody holds the other end any more.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use super::doorbell::Doorbell;

/// The kernel takes at most this many descriptors with one message (`SCM_MAX_FD`).
pub(crate) const DESCRIPTORS_PER_MESSAGE: usize = 253;

/// Most messages carry no more, and then what carries them is not allocated.
const FEW: usize = 8;

/// The longest message sent over a control socket, in bytes. Longer things go through shared memory.
pub(crate) const MESSAGE_BYTES: usize = 64 * 1024;

/// Creates two connected ends. Both are close-on-exec and block unless asked otherwise per call.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let ends = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    Ok(ends)
}

/// What one call to [`receive`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A message of this many bytes.
    Message(usize),
    /// Nobody holds the other end any more.
    End,
}

/// Sends one message and its descriptors, all or nothing, without waiting for room.
pub(crate) fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if fds.len() > DESCRIPTORS_PER_MESSAGE || bytes.is_empty() || bytes.len() > MESSAGE_BYTES {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut few = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FEW))];
    let mut many = Vec::new();
    let mut ancillary = SendAncillaryBuffer::new(match fds.len() {
        ..=FEW => &mut few[..],
        count => {
            many.resize(
                rustix::cmsg_space!(ScmRights(1)) * count,
                MaybeUninit::uninit(),
            );
            &mut many[..]
        }
    });
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let sent = rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(&socket, &[IoSlice::new(bytes)], &mut ancillary, flags)
    })?;
    debug_assert_eq!(sent, bytes.len());
    Ok(())
}

/// Whether nobody holds the other end any more, or it was shut down.
pub(crate) fn is_hung_up(socket: impl AsFd) -> bool {
    let mut watched = [PollFd::new(&socket, PollFlags::RDHUP)];
    let now = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let polled = rustix::io::retry_on_intr(|| rustix::event::poll(&mut watched, Some(&now)));
    let gone = PollFlags::HUP | PollFlags::RDHUP | PollFlags::ERR;
    polled.is_ok() && watched[0].revents().intersects(gone)
}

/// Blocks until there is something to receive, nobody to receive from, or `limit` is over.
pub(crate) fn wait_readable(socket: impl AsFd, limit: Option<Duration>) -> io::Result<()> {
    let mut watched = [PollFd::new(&socket, PollFlags::IN | PollFlags::RDHUP)];
    let limit = limit.and_then(|limit| rustix::event::Timespec::try_from(limit).ok());
    match rustix::event::poll(&mut watched, limit.as_ref()) {
        // Interrupted: the caller looks again.
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Blocks until [`wait_readable`] would not, or `bell` was rung, which is forgotten then.
pub(crate) fn wait_readable_or_rung(socket: impl AsFd, bell: &Doorbell) -> io::Result<()> {
    let mut watched = [
        PollFd::new(&socket, PollFlags::IN | PollFlags::RDHUP),
        PollFd::new(bell, PollFlags::IN),
    ];
    match rustix::event::poll(&mut watched, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    if !watched[1].revents().is_empty() {
        bell.clear();
    }
    Ok(())
}

/// Ends the conversation for everybody who holds either end. What was sent can still be received.
pub(crate) fn shut_down(socket: impl AsFd) {
    // Fails only if it was shut down before.
    let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
}

/// Whether an error says that nobody is at the other end any more.
pub(crate) fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}

/// Blocks until there is room to send, or nobody to send to.
pub(crate) fn wait_writable(socket: impl AsFd) -> io::Result<()> {
    let mut watched = [PollFd::new(&socket, PollFlags::OUT)];
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut watched, None))?;
    Ok(())
}

/// Makes the end of `socket` readable behind what has come by now.
pub(crate) fn stop_receiving(socket: impl AsFd) -> io::Result<()> {
    rustix::net::shutdown(socket, rustix::net::Shutdown::Read)?;
    Ok(())
}

/// Copies the next message into `buffer` without taking it or its descriptors. Does not wait.
pub(crate) fn peek(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    match rustix::io::retry_on_intr(|| rustix::net::recv(&socket, &mut *buffer, flags)) {
        Ok((0, _)) | Err(rustix::io::Errno::CONNRESET) => Ok(Received::End),
        Ok((n, _)) => Ok(Received::Message(n)),
        Err(error) => Err(error.into()),
    }
}

/// How long the next message is, which is not taken. `wait` says whether to block until there is one.
pub(crate) fn announced(socket: impl AsFd, wait: bool) -> io::Result<Received> {
    let mut flags = RecvFlags::PEEK | RecvFlags::TRUNC;
    if !wait {
        flags |= RecvFlags::DONTWAIT;
    }
    loop {
        // All of its length is said, whatever fits.
        match rustix::net::recv(&socket, &mut [0_u8; 0], flags) {
            // As in `receive`.
            Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNRESET) => {}
            Ok((_, 0)) => return Ok(Received::End),
            Ok((_, len)) => return Ok(Received::Message(len)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receives one message; its descriptors are appended to `fds`, each close-on-exec.
///
/// `wait` says whether to block until there is one. A message longer than `buffer` is an error. If its
/// descriptors did not all arrive (the descriptor table is full), there are none, and those that did are
/// closed: the caller notices that they are missing.
pub(crate) fn receive(
    socket: impl AsFd,
    buffer: &mut [u8],
    fds: &mut Vec<OwnedFd>,
    wait: bool,
) -> io::Result<Received> {
    let mut space =
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_PER_MESSAGE))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut flags = RecvFlags::CMSG_CLOEXEC;
    if !wait {
        flags |= RecvFlags::DONTWAIT;
    }
    let message = loop {
        let mut parts = [IoSliceMut::new(buffer)];
        match rustix::net::recvmsg(&socket, &mut parts, &mut ancillary, flags) {
            // The peer died with unread bytes. That is said before what it had sent, which is here still, and once.
            Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNRESET) => {}
            other => break other?,
        }
    };
    let before = fds.len();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(arrived) = part {
            fds.extend(arrived);
        }
    }
    if message
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    {
        fds.truncate(before);
        return Err(io::Error::other(
            "a message arrived without all its descriptors: is the descriptor table full?",
        ));
    }
    match message.bytes {
        0 => Ok(Received::End),
        n => Ok(Received::Message(n)),
    }
}

/// Whether `fd` is a socket that keeps message boundaries: what a parent of this crate leaves.
pub(crate) fn is_seqpacket(fd: impl AsFd) -> bool {
    rustix::net::sockopt::socket_type(fd)
        .is_ok_and(|kind| kind == rustix::net::SocketType::SEQPACKET)
}
