//! What parent and child say to each other beside the rings.
//!
//! Lives here: shared memory for large values, the messages of the control socket, and how a child enters.
//!
//! Never here: what is done about a message.

pub(crate) mod blob;
pub(crate) mod control;
pub(crate) mod entry_point;
pub(crate) mod env_block;
