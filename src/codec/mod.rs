//! From values to bytes and back.
//!
//! Lives here: postcard with flavors of our own, a faster way to write and read its format, and the descriptors beside
//! the bytes.
//!
//! Must stay true: a value is encoded whole or not at all; bytes from another process decode to a
//! value or to an error that says why; user code that panics while it serialises is an error too.
//!
//! Never here: where the bytes lie and who is told about them.

pub(crate) mod attachments;
#[expect(clippy::module_inception, reason = "the codec itself")]
pub(crate) mod codec;
mod decoder;
mod descriptor;
mod encoder;
pub(crate) mod move_state;
mod varint;

pub use descriptor::Descriptor;
