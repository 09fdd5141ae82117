//! One call of a state whose home is another process, or this one.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::connection::{Away, HomeConnection};
use super::messages::CallKind;
use super::relayed_result;
use super::relayed_result::PackedCall;
use crate::call::Slot;
use crate::call::relayed::RelayedOutcome;
use crate::error::{ErrorKind, JoinError};
use crate::transfer::encoded_value::EncodedValue;
use serde::de::DeserializeOwned;

/// A call in another process. It is sent when it is first polled.
pub(super) struct AwayCall<R> {
    away: Arc<Away>,
    name: &'static str,
    kind: CallKind,
    stage: AwayStage,
    open: fn(EncodedValue) -> Result<R, String>,
}

enum AwayStage {
    /// The call, or why there is none.
    New(Result<PackedCall, JoinError>),
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
        kind: CallKind,
        call: Result<PackedCall, JoinError>,
    ) -> Self {
        Self {
            away: Arc::clone(away),
            name,
            kind,
            stage: AwayStage::New(call),
            open: EncodedValue::open::<R>,
        }
    }
}

impl<R> AwayCall<R> {
    /// Sends the call.
    fn begin(&self, call: Result<PackedCall, JoinError>) -> Result<AwayStage, JoinError> {
        let call = call?;
        let connection = self.away.connection().map_err(|error| {
            JoinError::new(ErrorKind::Closed, self.name).because(error.to_string())
        })?;
        let (id, slot) = connection.send(self.kind, call);
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
}

impl<R> Future for AwayCall<R> {
    type Output = Result<R, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(self.poll_stage(cx));
        Poll::Ready(relayed_result::open(outcome, self.name, self.open))
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
