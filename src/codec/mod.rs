//! From values to bytes and back. Runs in every process.
//!
//! Lives here:
//! - postcard's format, written and read by code of our own where that is faster (`codec`, `encoder`, `decoder`,
//!   `varint`);
//! - what cannot be bytes: descriptors (`attachments`, `descriptor`) and pipe ends that move (`move_state`).
//!
//! Must stay true:
//! - A value is encoded whole or not at all.
//! - Bytes from another process decode to a value, or to an error that says why.
//! - Bytes that another process may still write are copied first (`shared_input`).
//! - User code that panics while it serialises is an error too.
//!
//! Never here: where the bytes lie, and how they reach another process.

pub(crate) mod attachments;
pub(crate) mod cached;
#[expect(clippy::module_inception, reason = "the codec itself")]
pub(crate) mod codec;
mod decoder;
mod descriptor;
mod encoder;
pub(crate) mod error;
mod input;
pub(crate) mod move_state;
mod output;
mod shared_input;
#[cfg(test)]
mod tests;
mod varint;

pub use descriptor::Descriptor;
