//! The two ends of one direction of a pipe.

use pin_project::pin_project;

use crate::channel::{Outbox, Rx, Spsc, Tx, Waiter, receiver_face, sender_face};

/// The sending end of a [`channel`](crate::channel()) or a split [`Pipe`](crate::Pipe).
///
/// It cannot be cloned, and sending it to another process moves it. The receiver's stream ends when this end is dropped
/// or closed. As a sink it sends the items given to it. Closing the sink flushes and closes the pipe, so
/// `stream.forward(sender)` ends the receiver's stream.
#[pin_project]
pub struct PipeSender<T> {
    tx: Tx<T, Spsc>,
    outbox: Outbox<T>,
}

/// The receiving end of a [`channel`](crate::channel()) or a split [`Pipe`](crate::Pipe).
///
/// It cannot be cloned, and sending it to another process moves it. As a stream it ends when the sending end is gone or
/// closed and all messages were received.
#[pin_project]
pub struct PipeReceiver<T> {
    rx: Rx<T, Spsc>,
    waiter: Waiter,
}

sender_face! {
    PipeSender is a side of Spsc,
    called "pipe",
    busy while "another task or thread is sending here at this moment",
    "Flushes, and closes the pipe: there is no other sender." closes by poll_close
}

receiver_face! {
    PipeReceiver is a side of Spsc,
    called "pipe",
    busy while "another task or thread is receiving here at this moment",
    "the next receive at this end" takes over what was being decoded
}
