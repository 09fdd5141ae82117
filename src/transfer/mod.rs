//! What a process sends to another beside the rings. Runs in both.
//!
//! Lives here: the control socket and its messages, shared memory for large values, the environment as bytes, and by
//! which hook a child enters.
//!
//! Must stay true: the two ends of a socket are the same program, so they agree on every format.
//!
//! Never here: what is done about a message.

pub(crate) mod blob;
pub(crate) mod cached_values;
pub(crate) mod control;
pub(crate) mod encoded_value;
pub(crate) mod entry_point;
pub(crate) mod env_block;
pub(crate) mod fork_spec;
pub(crate) mod greeting;
pub(crate) mod lane;
pub(crate) mod leave_answer;
pub(crate) mod longest_value;
pub(crate) mod mapped_blob;
pub(crate) mod mapped_blobs;
pub(crate) mod messages;
pub(crate) mod nonsense;
