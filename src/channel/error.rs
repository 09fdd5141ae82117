//! The errors of sending and receiving.

use std::fmt;

use crate::transfer::nonsense::Nonsense;

/// A message was not sent. The error has the message.
pub struct SendError<T> {
    value: Option<T>,
    cause: Cause,
}

impl<T> SendError<T> {
    /// The channel is closed: because it was overwritten, if there is `nonsense`.
    pub(crate) fn closed(value: Option<T>, nonsense: Option<Nonsense>) -> Self {
        let cause = Cause::Closed(nonsense);
        Self { value, cause }
    }

    pub(crate) fn refused(value: Option<T>, why: String) -> Self {
        let cause = Cause::Refused(why);
        Self { value, cause }
    }

    /// Whether the queue or pipe was closed, or no process can receive any more, or a process has overwritten the
    /// shared memory: the error's text says which.
    pub fn is_closed(&self) -> bool {
        matches!(self.cause, Cause::Closed(_))
    }

    /// Whether the message cannot be sent at all, for example because its `Serialize` fails. Other messages can be
    /// sent.
    pub fn is_encode(&self) -> bool {
        matches!(self.cause, Cause::Refused(_))
    }

    /// Returns the message. `None` only for an error of a sink's `poll_ready`, `poll_flush` or `poll_close`.
    pub fn into_inner(self) -> Option<T> {
        self.value
    }
}

/// A message was not sent at once. The error has the message.
pub struct TrySendError<T> {
    value: T,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Full,
    /// Because a process has overwritten the channel, if it has.
    Closed(Option<Nonsense>),
    Refused(String),
}

impl<T> TrySendError<T> {
    pub(crate) fn full(value: T) -> Self {
        let cause = Cause::Full;
        Self { value, cause }
    }

    pub(crate) fn closed(value: T, nonsense: Option<Nonsense>) -> Self {
        let cause = Cause::Closed(nonsense);
        Self { value, cause }
    }

    pub(crate) fn refused(value: T, why: String) -> Self {
        let cause = Cause::Refused(why);
        Self { value, cause }
    }

    /// Whether there is no room for the message now. A later attempt may succeed.
    pub fn is_full(&self) -> bool {
        matches!(self.cause, Cause::Full)
    }

    /// Whether the queue or pipe was closed, or no process can receive any more, or a process has overwritten the
    /// shared memory: the error's text says which.
    pub fn is_closed(&self) -> bool {
        matches!(self.cause, Cause::Closed(_))
    }

    /// Whether the message cannot be sent at all, for example because its `Serialize` fails. Other messages can be
    /// sent.
    pub fn is_encode(&self) -> bool {
        matches!(self.cause, Cause::Refused(_))
    }

    /// Returns the message.
    pub fn into_inner(self) -> T {
        self.value
    }
}

/// No message was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecvError {
    /// There will be no more messages: the queue or pipe was closed, or every sender is gone, and every message was
    /// received.
    Closed,
    /// A message was received and cannot be decoded, for this reason. It is lost; later messages can be received. Or a
    /// process wrote what cannot be into the shared memory, so that the messages in it are lost: then each receiving
    /// end tells this once, and `Closed` follows. With the feature `tracing` it is a warning too. Nothing counts such
    /// queues and pipes, as [`Metrics::corrupted`](crate::Metrics::corrupted) counts workers: every end tells its own
    /// users.
    Decode(String),
}

/// No message was received at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TryRecvError {
    /// There is no message now. There may be one later.
    Empty,
    /// There will be no more messages: the queue or pipe was closed, or every sender is gone, and every message was
    /// received.
    Closed,
    /// A message was received and cannot be decoded, for this reason. It is lost; later messages can be received. Or a
    /// process wrote what cannot be into the shared memory, so that the messages in it are lost: then each receiving
    /// end tells this once, and `Closed` follows. With the feature `tracing` it is a warning too. Nothing counts such
    /// queues and pipes, as [`Metrics::corrupted`](crate::Metrics::corrupted) counts workers: every end tells its own
    /// users.
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

const IS_CLOSED: &str = "the channel is closed";
const HAS_NO_RECEIVER: &str = "no process can receive the message any more";

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("there is no room for the message now"),
            Self::Closed(None) => f.write_str(HAS_NO_RECEIVER),
            Self::Closed(Some(nonsense)) => {
                write!(f, "{HAS_NO_RECEIVER}: {}", nonsense.explain_channel())
            }
            Self::Refused(why) => write!(f, "the message cannot be sent: {why}"),
        }
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str(IS_CLOSED),
            Self::Decode(why) => write!(f, "the message cannot be decoded: {why}"),
        }
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no message now"),
            Self::Closed => f.write_str(IS_CLOSED),
            Self::Decode(why) => write!(f, "the message cannot be decoded: {why}"),
        }
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError")
            .field("cause", &self.cause)
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
