//! Files and sockets inside values.

use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, OwnedFd};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::attachments;

/// A descriptor that can be sent to another process, inside any argument, result or message.
///
/// `T` is any type of `std` that owns a descriptor: `OwnedFd`, `File`, `TcpStream`, `TcpListener`,
/// `UnixStream`, `UnixListener`, `UdpSocket`, pipes. Sending duplicates the descriptor, as `dup(2)` does: both
/// processes have it afterwards, and share its position and flags. Dropping it closes the descriptor of this process.
///
/// # Errors
///
/// Serialising it is an error unless it is sent as an argument, a result or a message. It is also an error if this
/// process may not have so many descriptors open (`RLIMIT_NOFILE`): until a value is received, its sender has a
/// duplicate of each. Deserialising a value is an error if the receiving process has no room for all of its
/// descriptors.
///
/// ```
/// use procession::{Descriptor, Pool};
/// use std::io::Read;
///
/// fn first_byte(mut file: Descriptor<std::fs::File>) -> u8 {
///     let mut byte = [0];
///     file.read_exact(&mut byte).unwrap();
///     byte[0]
/// }
///
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = std::fs::File::open("Cargo.toml")?;
/// let byte = Pool::with_workers(1)?.run(first_byte, Descriptor(file)).await?;
/// assert!(byte.is_ascii());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Descriptor<T>(pub T);

impl<T> Descriptor<T> {
    /// The file or socket itself.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Descriptor<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Descriptor<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> From<T> for Descriptor<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: AsFd> Serialize for Descriptor<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let place = attachments::attach(self.0.as_fd()).map_err(ser::Error::custom)?;
        place.serialize(serializer)
    }
}

impl<'de, T: From<OwnedFd>> Deserialize<'de> for Descriptor<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let place = u32::deserialize(deserializer)?;
        let fd = attachments::take(place).map_err(de::Error::custom)?;
        Ok(Self(T::from(fd)))
    }
}
