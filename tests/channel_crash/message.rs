//! Messages that say whether they are whole.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use procession::Descriptor;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) sender: u64,
    pub(crate) number: u64,
    /// Says the number too.
    pub(crate) socket: Option<Descriptor<UnixStream>>,
    pub(crate) bytes: ByteBuf,
}

/// What a sender sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Short,
    Long,
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
        let socket = (kind == Kind::Sockets && !number.is_multiple_of(3)).then(|| {
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

    pub(crate) fn check(mut self) -> (u64, u64) {
        let expected = (self.sender + self.number) as u8;
        assert!(self.bytes.iter().all(|byte| *byte == expected), "torn");
        if let Some(socket) = &mut self.socket {
            let mut number = [0; 8];
            socket.read_exact(&mut number).unwrap();
            assert_eq!(u64::from_ne_bytes(number), self.number, "another's socket");
        }
        (self.sender, self.number)
    }
}
