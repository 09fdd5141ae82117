//! One call of a state whose home is another process, or this one.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::connection::{Away, HomeConnection};
use crate::call::Slot;
use crate::call::relayed::RelayedOutcome;
use crate::error::{ErrorKind, JoinError};
use crate::transfer::encoded_value::EncodedValue;
use serde::de::DeserializeOwned;

/// A call in another process. It is sent when it is first polled.
pub(super) struct AwayCall<R> {
    away: Arc<Away>,
    name: &'static str,
    stage: AwayStage,
    open: fn(EncodedValue) -> Result<R, String>,
}

enum AwayStage {
    /// Its function's token and its arguments, or why there is no such call.
    New(Result<(u64, EncodedValue), JoinError>),
    Sent {
        connection: Arc<HomeConnection>,
        id: u64,
        slot: Arc<Slot<RelayedOutcome>>,
    },
    Over,
}

impl<R: DeserializeOwned> AwayCall<R> {
    pub(super) fn new(
        away: &Arc<Away>,
        name: &'static str,
        call: Result<(u64, EncodedValue), JoinError>,
    ) -> Self {
        Self {
            away: Arc::clone(away),
            name,
            stage: AwayStage::New(call),
            open: EncodedValue::open::<R>,
        }
    }
}

impl<R> AwayCall<R> {
    /// Sends the call.
    fn begin(&self, call: Result<(u64, EncodedValue), JoinError>) -> Result<AwayStage, JoinError> {
        let (token, arguments) = call?;
        let connection = self.away.connection().map_err(|error| {
            JoinError::new(ErrorKind::Closed, self.name).because(error.to_string())
        })?;
        let (id, slot) = connection.send(token, arguments);
        Ok(AwayStage::Sent {
            connection,
            id,
            slot,
        })
    }

    fn poll_stage(&mut self, cx: &mut Context<'_>) -> Poll<Result<RelayedOutcome, JoinError>> {
        self.stage = match std::mem::replace(&mut self.stage, AwayStage::Over) {
            AwayStage::New(call) => self.begin(call)?,
            sent @ AwayStage::Sent { .. } => sent,
            AwayStage::Over => panic!("`ManagedCall` was polled after it had resolved"),
        };
        let outcome = ready!(self.poll_sent(cx));
        self.stage = AwayStage::Over;
        Poll::Ready(outcome)
    }

    fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<Result<RelayedOutcome, JoinError>> {
        let AwayStage::Sent {
            connection, slot, ..
        } = &self.stage
        else {
            return Poll::Pending;
        };
        let outcome = slot.poll(cx);
        if outcome.is_pending() {
            connection.expect();
        }
        outcome
    }

    fn decode(&self, outcome: RelayedOutcome) -> Result<R, JoinError> {
        let error = |kind, why: String| JoinError::new(kind, self.name).because(why);
        match outcome {
            RelayedOutcome::Done(value) => (self.open)(value).map_err(|why| {
                error(ErrorKind::Decode, format!("the result: {why}")).after_start(true)
            }),
            RelayedOutcome::Undecoded(why) => {
                Err(error(ErrorKind::Decode, format!("the arguments: {why}")))
            }
            RelayedOutcome::Unencoded(why) => {
                Err(error(ErrorKind::Encode, format!("the result: {why}")).after_start(true))
            }
        }
    }
}

impl<R> Future for AwayCall<R> {
    type Output = Result<R, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(self.poll_stage(cx));
        let outcome = outcome.and_then(|outcome| self.decode(outcome));
        Poll::Ready(outcome.map_err(|error| error.about(self.name)))
    }
}

impl<R> Drop for AwayCall<R> {
    fn drop(&mut self) {
        if let AwayStage::Sent { connection, id, .. } = &self.stage {
            connection.withdraw(*id);
        }
    }
}

impl<R> fmt::Debug for AwayCall<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwayCall")
            .field("task", &self.name)
            .finish_non_exhaustive()
    }
}
