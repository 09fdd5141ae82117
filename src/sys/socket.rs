//! Pairs of sockets that keep message boundaries and carry descriptors beside the bytes.
//!
//! `SOCK_SEQPACKET` (`unix(7)`): one `send` is one `receive`, descriptors belong to exactly the message they were sent
//! with, and the kernel reports when the last copy of the other end is closed.
//!
//! # Safety
//!
//! The one unsafe call has the kernel store one integer where it is told.
#![allow(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use super::doorbell::Doorbell;
use super::exit_cause;

/// The kernel takes at most this many descriptors with one message (`SCM_MAX_FD`).
pub(crate) const DESCRIPTORS_PER_MESSAGE: usize = 253;

/// Up to this many descriptors the ancillary buffer lies on the stack. Most messages carry no more.
const FEW: usize = 8;

/// The longest message sent over a control socket, in bytes. Longer data goes through shared memory.
pub(crate) const MESSAGE_BYTES: usize = 64 * 1024;

/// How many bytes the socket of a channel is asked to hold: what every kernel allows by default. It holds twice as
/// many, because the kernel counts its own records too.
const WANTED_SEND_BUFFER: usize = 212_992;

/// Creates two connected ends. Both are close-on-exec, and in blocking mode: each call chooses whether to wait.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let ends = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    Ok(ends)
}

/// The result of [`receive`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReceiveResult {
    /// A message of this many bytes.
    Message(usize),
    /// A message of this many bytes. Its descriptors did not all arrive, because the descriptor table is full. The
    /// arrived descriptors are closed.
    WithoutFds(usize),
    /// The other end is closed in all processes.
    End,
}

/// Sends one message and its descriptors, all or nothing, without waiting for space.
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

/// Whether the other end is closed in all processes, or was shut down.
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

/// Blocks until there is a message or the end, or until `limit` has passed.
///
/// As in all functions here that wait, a child that has lost its descriptors ends: it would wait for ever, or not at
/// all.
pub(crate) fn wait_readable(socket: impl AsFd, limit: Option<Duration>) -> io::Result<()> {
    exit_cause::end_if_disconnected();
    let mut watched = [PollFd::new(&socket, PollFlags::IN | PollFlags::RDHUP)];
    let limit = limit.and_then(|limit| rustix::event::Timespec::try_from(limit).ok());
    match rustix::event::poll(&mut watched, limit.as_ref()) {
        // Interrupted: the caller looks again.
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Blocks until there is a message or the end, or until `bell` was rung. Resets the bell.
pub(crate) fn wait_readable_or_rung(socket: impl AsFd, bell: &Doorbell) -> io::Result<()> {
    exit_cause::end_if_disconnected();
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

/// Lets `socket` hold twice as much as it does by default, as far as the kernel allows it (`net.core.wmem_max`,
/// `socket(7)`).
pub(crate) fn enlarge(socket: impl AsFd) {
    // A kernel that refuses leaves the buffer as it is.
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(socket, WANTED_SEND_BUFFER);
}

/// Whether at most half of what `socket` can hold was sent and not received.
pub(crate) fn is_half_empty(socket: impl AsFd) -> bool {
    let Ok(most) = rustix::net::sockopt::socket_send_buffer_size(&socket) else {
        return true;
    };
    let mut waiting: libc::c_int = 0;
    let raw = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is borrowed, and the call stores one integer (`unix(7)`, SIOCOUTQ).
    let asked = unsafe { libc::ioctl(raw, libc::TIOCOUTQ, &raw mut waiting) };
    asked != 0 || usize::try_from(waiting).is_ok_and(|waiting| waiting <= most / 2)
}

/// Shuts both directions down, for all holders of either end. Messages already sent can still be received.
pub(crate) fn shut_down(socket: impl AsFd) {
    // Fails only if it was shut down before.
    let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
}

/// Whether an error means that the other end is closed.
pub(crate) fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}

/// Whether an error means that this process, or the system, has no descriptors left.
pub(crate) fn has_no_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Blocks until there is space to send, or the other end is closed.
pub(crate) fn wait_writable(socket: impl AsFd) -> io::Result<()> {
    exit_cause::end_if_disconnected();
    let mut watched = [PollFd::new(&socket, PollFlags::OUT)];
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut watched, None))?;
    Ok(())
}

/// Shuts the receiving direction down: `socket` reads the end after the messages that have arrived.
pub(crate) fn stop_receiving(socket: impl AsFd) -> io::Result<()> {
    rustix::net::shutdown(socket, rustix::net::Shutdown::Read)?;
    Ok(())
}

/// Copies the next message into `buffer` without taking it or its descriptors. Does not block.
pub(crate) fn peek(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<ReceiveResult> {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    match rustix::io::retry_on_intr(|| rustix::net::recv(&socket, &mut *buffer, flags)) {
        Ok((0, _)) | Err(rustix::io::Errno::CONNRESET) => Ok(ReceiveResult::End),
        Ok((n, _)) => Ok(ReceiveResult::Message(n)),
        Err(error) => Err(error.into()),
    }
}

/// The length of the next message, which is not taken. Blocks until there is one if `wait` is set.
pub(crate) fn peek_len(socket: impl AsFd, wait: bool) -> io::Result<ReceiveResult> {
    let mut flags = RecvFlags::PEEK | RecvFlags::TRUNC;
    if !wait {
        flags |= RecvFlags::DONTWAIT;
    }
    loop {
        // `MSG_TRUNC` returns the message's whole length.
        match rustix::net::recv(&socket, &mut [0_u8; 0], flags) {
            // As in `receive`.
            Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNRESET) => {}
            Ok((_, 0)) => return Ok(ReceiveResult::End),
            Ok((_, len)) => return Ok(ReceiveResult::Message(len)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receives one message; its descriptors are appended to `fds`, each close-on-exec.
///
/// Blocks until there is a message if `wait` is set. A message longer than `buffer` is an error.
pub(crate) fn receive(
    socket: impl AsFd,
    buffer: &mut [u8],
    fds: &mut Vec<OwnedFd>,
    wait: bool,
) -> io::Result<ReceiveResult> {
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
            // ECONNRESET: the peer died with unread bytes. The kernel reports this once, before the messages that the
            // peer had sent, which can still be received.
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
    if message.flags.contains(ReturnFlags::TRUNC) {
        fds.truncate(before);
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        fds.truncate(before);
        return Ok(ReceiveResult::WithoutFds(message.bytes));
    }
    match message.bytes {
        0 => Ok(ReceiveResult::End),
        n => Ok(ReceiveResult::Message(n)),
    }
}

/// The error for a message that needs descriptors which did not arrive.
pub(crate) fn fds_are_missing() -> io::Error {
    io::Error::other("a message arrived without all its descriptors: is the descriptor table full?")
}

/// Whether `fd` is a `SOCK_SEQPACKET` socket, as the control socket that a parent of this crate passes.
pub(crate) fn is_seqpacket(fd: impl AsFd) -> bool {
    rustix::net::sockopt::socket_type(fd)
        .is_ok_and(|kind| kind == rustix::net::SocketType::SEQPACKET)
}
