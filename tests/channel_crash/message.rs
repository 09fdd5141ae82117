//! Messages that show whether they are whole.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use procession::Descriptor;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Message `number` of a sender. Its bytes and what is in its socket follow from the two numbers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Message {
    sender: u64,
    number: u64,
    /// Contains the number of the message.
    socket: Option<Descriptor<UnixStream>>,
    bytes: ByteBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Short,
    /// Many are too long for the ring.
    Long,
    /// Most have a socket beside them.
    Sockets,
}

pub(crate) const KINDS: [Kind; 3] = [Kind::Short, Kind::Long, Kind::Sockets];

impl Message {
    pub(crate) fn new(sender: u64, number: u64, kind: Kind) -> Self {
        let len = match (kind, number % 5) {
            (Kind::Long, 0..3) => 70_000 + 1_000 * (number % 97),
            (Kind::Long, 3) => 60_000,
            _ => number % 61,
        };
        let socket = (kind == Kind::Sockets && matches!(number % 3, 1 | 2)).then(|| {
            let (here, mut there) = UnixStream::pair().unwrap();
            there.write_all(&number.to_ne_bytes()).unwrap();
            Descriptor(here)
        });
        Self {
            sender,
            number,
            socket,
            bytes: ByteBuf::from(vec![(sender + number) as u8; len as usize]),
        }
    }

    /// Returns the sender and the number of a message that is whole.
    pub(crate) fn check(mut self) -> (u64, u64) {
        let expected = (self.sender + self.number) as u8;
        assert!(self.bytes.iter().all(|byte| *byte == expected), "torn");
        if let Some(socket) = &mut self.socket {
            let mut number = [0; 8];
            socket.read_exact(&mut number).unwrap();
            let number = u64::from_ne_bytes(number);
            assert_eq!(number, self.number, "the socket of another message");
        }
        (self.sender, self.number)
    }
}
