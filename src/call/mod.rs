//! One call, both of its ends side by side.
//!
//! Must stay true: an item of work is claimed before its arguments are decoded; every claimed item gets exactly one
//! reply, and an item that was never claimed gets none.
//!
//! Never here: which worker runs what, and when.

pub(crate) mod envelope;
pub(crate) mod executor;
pub(crate) mod job;
pub(crate) mod panic_capture;
mod reply_writer;
pub(crate) mod request_writer;
pub(crate) mod result_blobs;
pub(crate) mod rings;
mod slot;

pub(crate) use request_writer::{Post, ReplyReader, RequestWriter};
pub(crate) use slot::Slot;
