//! What sending and receiving can say instead.

use std::fmt;

/// A message that was not sent, given back.
pub struct SendError<T> {
    value: Option<T>,
    refused: Option<String>,
}

impl<T> SendError<T> {
    pub(crate) fn closed(value: Option<T>) -> Self {
        Self {
            value,
            refused: None,
        }
    }

    pub(crate) fn refused(value: Option<T>, why: String) -> Self {
        Self {
            value,
            refused: Some(why),
        }
    }

    /// Whether nobody is left to receive.
    pub fn is_closed(&self) -> bool {
        self.refused.is_none()
    }

    /// Whether the value cannot be sent. Nothing was.
    pub fn is_encode(&self) -> bool {
        self.refused.is_some()
    }

    /// The message. `None` only from a sink's `poll_ready`, `poll_flush` and `poll_close`.
    pub fn into_inner(self) -> Option<T> {
        self.value
    }
}

/// A message that was not sent at once, given back.
pub struct TrySendError<T> {
    value: T,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Full,
    Closed,
    Refused(String),
}

impl<T> TrySendError<T> {
    pub(crate) fn full(value: T) -> Self {
        let cause = Cause::Full;
        Self { value, cause }
    }

    pub(crate) fn closed(value: T) -> Self {
        let cause = Cause::Closed;
        Self { value, cause }
    }

    pub(crate) fn refused(value: T, why: String) -> Self {
        let cause = Cause::Refused(why);
        Self { value, cause }
    }

    /// Whether there is no room now.
    pub fn is_full(&self) -> bool {
        matches!(self.cause, Cause::Full)
    }

    /// Whether nobody is left to receive.
    pub fn is_closed(&self) -> bool {
        matches!(self.cause, Cause::Closed)
    }

    /// Whether the value cannot be sent. Nothing was.
    pub fn is_encode(&self) -> bool {
        matches!(self.cause, Cause::Refused(_))
    }

    /// The message.
    pub fn into_inner(self) -> T {
        self.value
    }
}

/// Why there is no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecvError {
    /// There is none, and there never will be: it was closed, or every sender is gone.
    Closed,
    /// There was one that could not be decoded, for this reason. It is gone; others may follow.
    Decode(String),
}

/// Why there is no message now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TryRecvError {
    /// There may be one later.
    Empty,
    /// There is none, and there never will be: it was closed, or every sender is gone.
    Closed,
    /// There was one that could not be decoded, for this reason. It is gone; others may follow.
    Decode(String),
}

impl From<RecvError> for TryRecvError {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Closed => Self::Closed,
            RecvError::Decode(why) => Self::Decode(why),
        }
    }
}

const CLOSED: &str = "the channel is closed";

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.refused {
            None => f.write_str("nobody is left to receive the message"),
            Some(why) => write!(f, "the message cannot be sent: {why}"),
        }
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Full => f.write_str("there is no room for the message now"),
            Cause::Closed => f.write_str("nobody is left to receive the message"),
            Cause::Refused(why) => write!(f, "the message cannot be sent: {why}"),
        }
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str(CLOSED),
            Self::Decode(why) => write!(f, "the message cannot be decoded: {why}"),
        }
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no message now"),
            Self::Closed => f.write_str(CLOSED),
            Self::Decode(why) => write!(f, "the message cannot be decoded: {why}"),
        }
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError")
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrySendError")
            .field("cause", &self.cause)
            .finish_non_exhaustive()
    }
}

impl<T> std::error::Error for SendError<T> {}
impl<T> std::error::Error for TrySendError<T> {}
impl std::error::Error for RecvError {}
impl std::error::Error for TryRecvError {}
