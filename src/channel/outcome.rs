//! What sending and receiving at once can find.

use super::message::{Delivered, Refused};

/// What became of a message that was to be sent.
#[derive(Debug)]
pub(crate) enum Pushed {
    Done,
    Full,
    /// Somebody else is at it. Look again.
    Busy,
    /// Nobody will receive it.
    Closed,
    Failed(Refused),
}

/// What was found by receiving.
#[derive(Debug)]
pub(crate) enum Popped {
    /// The message is in the room that was lent, and there is nothing beside it.
    Short,
    Message(Box<Delivered>),
    Empty,
    /// Somebody else is at it. Look again.
    Busy,
    /// There is nothing, and there never will be.
    Closed,
}
