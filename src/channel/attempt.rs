//! What one attempt to send or to receive comes to. Neither kind of attempt ever waits.

use super::message::{Incoming, Refused};

/// The result of one attempt.
#[derive(Debug)]
pub(crate) enum Attempt<T> {
    Done(T),
    /// There is no room for the message, or no message.
    NotNow,
    /// Another thread or process is sending or receiving at this moment.
    Busy,
    /// The message is so long that it is copied by a thread that may block.
    Elsewhere,
    /// No message will be received any more, or there will be no message.
    Closed,
}

/// An attempt to send: done if the message was committed, or can never be sent.
pub(crate) type Pushed = Attempt<Result<(), Refused>>;

/// An attempt to receive.
pub(crate) type Popped = Attempt<Taken>;

/// A message that was taken out of the ring.
#[derive(Debug)]
pub(crate) enum Taken {
    /// All of it is in the caller's buffer.
    Short,
    /// It is longer than that buffer, or descriptors or shared memory belong to it.
    Long(Box<Incoming>),
}
