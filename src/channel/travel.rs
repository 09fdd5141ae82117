//! Ends inside values: their descriptors travel beside the bytes.

use std::os::fd::AsFd as _;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::duct::Duct;
use super::end::{End, Side};
use crate::wire::baggage;

impl Serialize for End {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let memory = baggage::stow(self.duct.memory.as_fd()).map_err(ser::Error::custom)?;
        let socket = baggage::stow(self.socket.as_fd()).map_err(ser::Error::custom)?;
        (memory, socket, self.side == Side::Send).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for End {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (memory, socket, sends) = <(u32, u32, bool)>::deserialize(deserializer)?;
        let memory = baggage::claim(memory).map_err(de::Error::custom)?;
        let socket = baggage::claim(socket).map_err(de::Error::custom)?;
        let duct = Duct::open(memory).map_err(de::Error::custom)?;
        let side = if sends { Side::Send } else { Side::Receive };
        Ok(Self::new(Arc::new(duct), socket, side))
    }
}
