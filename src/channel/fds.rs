//! Descriptors go ahead of their message: over the socket, under a number that the message names.
//!
//! A sender that dies before it commits leaves some that no message names; whoever looks for later ones
//! closes them on the way. A receiver that dies with them in its hands takes its message along; whoever
//! inherits its lock sees that they are gone.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use super::end::End;
use super::message::{Cargo, Refused};
use super::outcome::Pushed;
use crate::sys::socket;
use crate::sys::socket::ReceiveResult;

/// Descriptors ahead of a message are sent with this many bytes: their number.
pub(super) const TAG_BYTES: usize = 8;

/// A ring of the bell for a message: the number of the last descriptors before it. Other rings are shorter.
pub(super) const RING_BYTES: usize = TAG_BYTES + 1;

impl End {
    /// Sends the descriptors of a message ahead of it.
    pub(super) fn send_ahead(&self, tag: u64, cargo: &Cargo) -> Result<(), Pushed> {
        let sent = socket::send(&self.socket, &tag.to_ne_bytes(), &cargo.descriptors());
        sent.map_err(|error| match error {
            // The socket has no room, or this user has too many descriptors on their way.
            error
                if error.kind() == io::ErrorKind::WouldBlock
                    || error.raw_os_error() == Some(libc::ETOOMANYREFS) =>
            {
                self.has_no_room_in_the_socket()
            }
            error if socket::is_end(&error) => self.is_left_alone(),
            error => Pushed::Failed(Refused(format!(
                "its descriptors could not be sent: {error}"
            ))),
        })
    }

    /// Takes the descriptors sent under `tag` out of the socket, and what is on the way to them: rings of the
    /// bell, and descriptors of messages that were never committed, which are closed.
    pub(super) fn descriptors(&self, tag: u64) -> Vec<OwnedFd> {
        self.duct.taken_tag().store(tag, Ordering::Release);
        let mut ends = 0;
        loop {
            let mut buffer = [0; 2 * TAG_BYTES];
            let mut fds = Vec::new();
            match socket::receive(&self.socket, &mut buffer, &mut fds, false) {
                // With none of them if this process's table is full.
                Ok(ReceiveResult::Message(TAG_BYTES))
                    if buffer[..TAG_BYTES] == tag.to_ne_bytes() =>
                {
                    return fds;
                }
                Ok(ReceiveResult::Message(_)) => {}
                // Senders that go with unread bytes leave an error, once, before what they sent.
                Ok(ReceiveResult::End) if ends == 0 => ends += 1,
                Ok(ReceiveResult::End) | Err(_) => return Vec::new(),
            }
        }
    }

    /// Whether the descriptors sent under `tag` are no longer in the socket: what comes next was sent later.
    pub(super) fn is_past(&self, tag: u64) -> bool {
        let mut buffer = [0; 2 * TAG_BYTES];
        let peeked = match socket::peek(&self.socket, &mut buffer) {
            Ok(ReceiveResult::End) => socket::peek(&self.socket, &mut buffer),
            other => other,
        };
        let Ok(ReceiveResult::Message(len)) = peeked else {
            return true;
        };
        let next = buffer[..TAG_BYTES].try_into().map_or(0, u64::from_ne_bytes);
        match len {
            TAG_BYTES => next > tag,
            // A ring of the bell: after the descriptors it names.
            RING_BYTES => next >= tag,
            _ => false,
        }
    }
}
