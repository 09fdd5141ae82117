//! One read that is awaited at the home of the state.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use serde::de::DeserializeOwned;

use super::begin::{BeginRead, ReadStart};
use super::pending_reads::PendingReads;
use crate::call::Slot;
use crate::call::relayed::RelayedOutcome;
use crate::error::JoinError;
use crate::managed::engine::{Engine, EngineCall};
use crate::managed::relayed_result;
use crate::managed::relayed_result::PackedCall;
use crate::transfer::encoded_value::EncodedValue;

/// A read whose types are not known. It is submitted when it is first polled. Dropping it removes it if it waits.
pub(in crate::managed) struct EngineRead {
    pending: Arc<PendingReads>,
    stage: ReadStage,
}

enum ReadStage {
    New(Engine, PackedCall),
    /// It waits for its turn.
    Submitted(SubmittedRead, EngineCall<ReadStart>),
    /// It runs.
    Begun(SubmittedRead),
    Over,
}

/// A number, and where the answer will be.
struct SubmittedRead {
    id: u64,
    slot: Arc<Slot<RelayedOutcome>>,
}

impl EngineRead {
    pub(in crate::managed) fn new(engine: &Engine, call: PackedCall) -> Self {
        Self {
            pending: Arc::clone(engine.pending_reads()),
            stage: ReadStage::New(engine.clone(), call),
        }
    }

    fn submit(&mut self) {
        let (engine, call) = match std::mem::replace(&mut self.stage, ReadStage::Over) {
            ReadStage::New(engine, call) => (engine, call),
            other => return self.stage = other,
        };
        // Before the read can be begun: from then on the end of its process must be heard.
        self.pending.open(|| engine.events());
        let (id, slot) = self.pending.begin();
        let call = engine.call::<BeginRead>((id, call.token, call.arguments));
        self.stage = ReadStage::Submitted(SubmittedRead { id, slot }, call);
    }

    fn poll_stage(&mut self, cx: &mut Context<'_>) -> Poll<Result<RelayedOutcome, JoinError>> {
        self.submit();
        if let ReadStage::Submitted(read, call) = &mut self.stage {
            // An answer may be here before the word that the read has begun.
            if let Poll::Ready(outcome) = read.slot.poll(cx) {
                return Poll::Ready(outcome);
            }
            match ready!(Pin::new(call).poll(cx)) {
                Ok(ReadStart::Begun(place)) => self.pending.begun(read.id, place),
                Ok(ReadStart::Done(outcome)) => return Poll::Ready(Ok(outcome)),
                Err(error) => return Poll::Ready(Err(error)),
            }
            if let ReadStage::Submitted(read, _) =
                std::mem::replace(&mut self.stage, ReadStage::Over)
            {
                self.stage = ReadStage::Begun(read);
            }
        }
        match &self.stage {
            ReadStage::Begun(read) => read.slot.poll(cx),
            _ => panic!("`ManagedCall` was polled after it had resolved"),
        }
    }
}

impl ReadStage {
    fn submitted(&self) -> Option<&SubmittedRead> {
        match self {
            Self::Submitted(read, _) | Self::Begun(read) => Some(read),
            Self::New(..) | Self::Over => None,
        }
    }
}

impl Future for EngineRead {
    type Output = Result<RelayedOutcome, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = self.poll_stage(cx);
        match outcome.is_ready() {
            true => self.end(),
            false => self.pending.expect(),
        }
        outcome
    }
}

impl EngineRead {
    fn end(&mut self) {
        if let Some(read) = self.stage.submitted() {
            self.pending.forget(read.id);
        }
        self.stage = ReadStage::Over;
    }
}

impl Drop for EngineRead {
    fn drop(&mut self) {
        self.end();
    }
}

/// A read at home whose result has a type.
pub(in crate::managed) struct ReadCall<R> {
    name: &'static str,
    stage: Option<Result<EngineRead, JoinError>>,
    open: fn(EncodedValue) -> Result<R, String>,
}

impl<R: DeserializeOwned> ReadCall<R> {
    pub(in crate::managed) fn new(
        engine: &Engine,
        name: &'static str,
        call: Result<PackedCall, JoinError>,
    ) -> Self {
        let read = call.map(|call| EngineRead::new(engine, call));
        Self {
            name,
            stage: Some(read),
            open: EncodedValue::open::<R>,
        }
    }
}

impl<R> Future for ReadCall<R> {
    type Output = Result<R, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = match &mut self.stage {
            Some(Ok(read)) => ready!(Pin::new(read).poll(cx)),
            Some(Err(error)) => Err(error.clone()),
            None => panic!("`ManagedCall` was polled after it had resolved"),
        };
        self.stage = None;
        Poll::Ready(relayed_result::open(outcome, self.name, self.open))
    }
}

impl fmt::Debug for EngineRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineRead").finish_non_exhaustive()
    }
}

impl<R> fmt::Debug for ReadCall<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadCall")
            .field("task", &self.name)
            .finish_non_exhaustive()
    }
}
