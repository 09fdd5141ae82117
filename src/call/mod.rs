//! One call, both of its ends side by side.
//!
//! A call goes through these files in this order, and its outcome comes back the same way:
//!
//! | file | process | what it does |
//! |---|---|---|
//! | `single` | parent | holds one call's arguments and takes its outcome |
//! | `common_arguments` | parent | arguments of several calls, without waiting for each other |
//! | `item_writer` | parent | memory that the items of one request are encoded into |
//! | `job` | parent | one call or a batch of calls, without their types |
//! | `encoded_items` | parent | items of a job as bytes, before they are in a ring |
//! | `short_bytes` | parent | bytes that need no memory of their own if they are few |
//! | `request_writer` | parent | copies encoded arguments into the request ring; revokes them |
//! | `control_queue` | parent | sends what goes beside requests over the control socket |
//! | `shared_values` | parent | sends a worker the cached values that requests name |
//! | `rings` | both | the memory of the two rings |
//! | `envelope` | both | the layout of requests and replies; claim and revoke |
//! | `request_reader` | worker | waits for requests, decodes arguments |
//! | `executor` | worker | claims an item, calls its function |
//! | `relayed` | worker | a call that has come by way of a process that does not know its types |
//! | `panic_capture` | worker | remembers message, place and backtrace of a panic |
//! | `reply_writer` | worker | encodes results into the reply ring |
//! | `result_blobs` | worker | shared memory for results that fit no frame |
//! | `reply_reader` | parent | reads replies, salvages what a worker has published |
//! | `last_words` | parent | what a child has left that a signal has ended |
//! | `outcomes` | parent | decodes the outcomes of one reply |
//! | `checksum` | both | finds replies that were overwritten before they were read |
//! | `unsendable` | worker | how a function ends that gives a value which cannot be encoded |
//! | `slot` | parent | where one outcome waits for the handle that awaits it |
//!
//! Must stay true: an item is claimed before its arguments are decoded; every claimed item gets exactly one outcome;
//! an item that was not claimed gets none, and can be sent to another worker.
//!
//! Never here: which worker runs what, and when (`pool`); how processes start (`spawn`, `child`).

mod checksum;
pub(crate) mod common_arguments;
mod control_queue;
pub(crate) mod encoded_items;
pub(crate) mod envelope;
pub(crate) mod executor;
pub(crate) mod item_writer;
pub(crate) mod job;
mod last_words;
pub(crate) mod outcomes;
pub(crate) mod panic_capture;
mod poll_window;
pub(crate) mod relayed;
pub(crate) mod reply_reader;
mod reply_writer;
mod request_reader;
pub(crate) mod request_writer;
pub(crate) mod result_blobs;
pub(crate) mod rings;
mod shared_values;
mod short_bytes;
pub(crate) mod single;
mod slot;
pub(crate) mod unsendable;

pub(crate) use last_words::LastWords;
pub(crate) use reply_reader::ReplyReader;
pub(crate) use request_writer::{RequestWriter, Written};
pub(crate) use slot::Slot;
