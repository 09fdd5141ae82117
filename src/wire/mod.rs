//! From values to bytes and back.
//!
//! Lives here: postcard with flavors of our own, a faster way to write and read its format, the descriptors beside
//! the bytes, shared memory for large values, and the messages of the control socket.
//!
//! Must stay true: a value is encoded whole or not at all; bytes from another process decode to a
//! value or to an error that says why; user code that panics while it serialises is an error too.
//!
//! Never here: where the bytes lie and who is told about them.

pub(crate) mod baggage;
pub(crate) mod codec;
pub(crate) mod control;
mod decoder;
mod descriptor;
mod encoder;
pub(crate) mod parcel;
pub(crate) mod passage;
mod varint;

pub use descriptor::Descriptor;
