//! Ends inside values: their descriptors travel beside the bytes.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::end::{End, Side};
use super::shm::Shm;
use crate::codec::attachments;

impl Serialize for End {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.spread.store(true, Ordering::Relaxed);
        let memory = attachments::stow(self.duct.memory.as_fd()).map_err(ser::Error::custom)?;
        let socket = attachments::stow(self.socket.as_fd()).map_err(ser::Error::custom)?;
        (memory, socket, self.side == Side::Send, self.moves).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for End {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (memory, socket, sends, moves) = <(u32, u32, bool, u32)>::deserialize(deserializer)?;
        let memory = attachments::claim(memory).map_err(de::Error::custom)?;
        let socket = attachments::claim(socket).map_err(de::Error::custom)?;
        let duct = Shm::open(memory).map_err(de::Error::custom)?;
        let side = if sends { Side::Send } else { Side::Receive };
        let moves = arrive(&duct, side, moves).map_err(de::Error::custom)?;
        let end = Self::new(Arc::new(duct), socket, side, moves);
        end.spread.store(true, Ordering::Relaxed);
        Ok(end)
    }
}

/// Lets an end in that had moved so often when it was sent; returns how often it has now. One that was sent twice,
/// as an argument of two tasks, arrives once: two holders of one side would write over each other.
fn arrive(duct: &Shm, side: Side, moves: u32) -> Result<u32, String> {
    if duct.shared {
        return Ok(0);
    }
    let counter = match side {
        Side::Send => duct.senders_moves(),
        Side::Receive => duct.receivers_moves(),
    };
    let now = moves.wrapping_add(1);
    let arrived = counter.compare_exchange(moves, now, Ordering::AcqRel, Ordering::Acquire);
    let twice = |_| "an end of a pipe was sent twice, and has arrived elsewhere".to_owned();
    attachments::faulty(arrived.map(|_| now).map_err(twice))
}
