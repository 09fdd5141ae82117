//! The home's side of handles in other processes.
//!
//! Runs at the home, in the background of the runtime in which the state was made. It passes calls on to the engine in
//! the order of their messages, and answers as they finish.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::StreamExt as _;
use futures::future::{AbortHandle, Abortable, Aborted, Either, select};
use futures::stream::FuturesUnordered;

use super::engine::{Engine, EngineCall};
use super::messages::{CallKind, FromHome, Hello, HomeAnswer, MOST_CALLS, ToHome};
use super::reads::EngineRead;
use super::relayed_result::PackedCall;
use crate::call::relayed;
use crate::call::relayed::{RelayedCall, RelayedOutcome};
use crate::channel::{RecvError, SendError};
use crate::error::{JoinError, SentError};
use crate::queue::Receiver;

/// A call, or a read, at the engine.
type PassedOn = Either<EngineCall<RelayedOutcome>, EngineRead>;

type Outcome = Result<RelayedOutcome, JoinError>;

/// Serves all handles in other processes, until the last handle anywhere is gone. Then it ends the engine.
pub(super) async fn relay(engine: Engine, hellos: Receiver<Hello>) {
    let mut connections = FuturesUnordered::new();
    loop {
        // While there are no connections, their `next` is ready at once.
        let ended = poll_fn(|cx| match connections.poll_next_unpin(cx) {
            Poll::Ready(Some(())) => Poll::Ready(()),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        });
        match select(hellos.recv(), ended).await {
            Either::Left((Ok(pipe), _)) => {
                connections.push(Connected::new(engine.clone(), pipe).serve());
            }
            Either::Left((Err(RecvError::Closed), _)) => break,
            // A connection whose descriptors could not be received: its pipe has ended.
            Either::Left((Err(_), _)) | Either::Right(_) => {}
        }
    }
    // A handle that is gone does not wait for its calls.
    drop(connections);
    engine.end().await;
}

/// One connected process.
struct Connected {
    engine: Engine,
    pipe: Hello,
    calls: FuturesUnordered<Abortable<Answered>>,
    /// How to drop the calls that have no outcome.
    drops: HashMap<u64, AbortHandle>,
    /// Which call the next message is, if that was said.
    announced: Option<u64>,
}

impl Connected {
    fn new(engine: Engine, pipe: Hello) -> Self {
        Self {
            engine,
            pipe,
            calls: FuturesUnordered::new(),
            drops: HashMap::new(),
            announced: None,
        }
    }

    /// Passes calls on until the process has gone. Then the calls that were not begun are dropped.
    async fn serve(mut self) {
        loop {
            let over = match self.next().await {
                Either::Left(Ok(message)) => self.take(message).await,
                Either::Left(Err(error)) => self.miss(error).await,
                Either::Right(Ok((id, outcome))) => self.answer(id, outcome).await,
                Either::Right(Err(Aborted)) => false, // withdrawn
            };
            if over {
                return;
            }
        }
    }

    /// The next message, or the next outcome.
    async fn next(&mut self) -> Either<Result<ToHome, RecvError>, Result<(u64, Outcome), Aborted>> {
        let has_room = self.calls.len() < MOST_CALLS;
        let (calls, pipe) = (&mut self.calls, &self.pipe);
        let mut message = pipe.recv();
        poll_fn(|cx| {
            if let Poll::Ready(Some(ended)) = calls.poll_next_unpin(cx) {
                return Poll::Ready(Either::Right(ended));
            }
            match has_room {
                true => Pin::new(&mut message).poll(cx).map(Either::Left),
                false => Poll::Pending,
            }
        })
        .await
    }

    /// Takes a message. True if the process has gone.
    async fn take(&mut self, message: ToHome) -> bool {
        self.announced = None;
        match message {
            ToHome::Announce { id } => {
                self.announced = Some(id);
                false
            }
            ToHome::Call {
                id,
                kind,
                token,
                arguments,
            } => {
                if let Some(why) = arguments.fault() {
                    let outcome = Ok(RelayedOutcome::Undecoded(why.to_owned()));
                    return self.answer(id, outcome).await;
                }
                let call = self.begin(kind, PackedCall { token, arguments });
                let mut call = Answered { id, call };
                // Submitted here, so in the order of the messages.
                if let Poll::Ready((id, outcome)) = futures::poll!(&mut call) {
                    return self.answer(id, outcome).await;
                }
                let (handle, registration) = AbortHandle::new_pair();
                self.drops.insert(id, handle);
                self.calls.push(Abortable::new(call, registration));
                false
            }
            ToHome::Withdraw { id } => {
                if let Some(handle) = self.drops.remove(&id) {
                    handle.abort();
                }
                false
            }
        }
    }

    /// A message cannot be received. True if the process has gone, or it is not known which call it was.
    async fn miss(&mut self, error: RecvError) -> bool {
        match (error, self.announced.take()) {
            (RecvError::Decode(why), Some(id)) => {
                self.answer(id, Ok(RelayedOutcome::Undecoded(why))).await
            }
            _ => true,
        }
    }

    fn begin(&self, kind: CallKind, call: PackedCall) -> PassedOn {
        match kind {
            CallKind::Call => {
                let arguments = (call.token, call.arguments);
                Either::Left(self.engine.call::<RelayedCall>(arguments))
            }
            CallKind::Read => Either::Right(EngineRead::new(&self.engine, call)),
        }
    }

    /// Sends what a call came to. True if the process has gone.
    async fn answer(&mut self, id: u64, outcome: Outcome) -> bool {
        self.drops.remove(&id);
        let outcome = outcome.map_err(SentError::from);
        if relayed::is_long(&outcome) && self.pipe.send(FromHome::Announce { id }).await.is_err() {
            return true;
        }
        match self.send(id, outcome).await {
            // For example, no descriptor is left.
            Err(error) if error.is_encode() => {
                let outcome = Ok(RelayedOutcome::Unencoded(error.to_string()));
                self.send(id, outcome).await.is_err()
            }
            sent => sent.is_err(),
        }
    }

    async fn send(
        &mut self,
        id: u64,
        outcome: Result<RelayedOutcome, SentError>,
    ) -> Result<(), SendError<FromHome>> {
        let answer = HomeAnswer {
            id,
            generation: self.engine.generation(),
            outcome,
        };
        self.pipe.send(FromHome::Answer(answer)).await
    }
}

/// A call with its id.
struct Answered {
    id: u64,
    call: PassedOn,
}

impl Future for Answered {
    type Output = (u64, Outcome);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let id = self.id;
        let call = Pin::new(&mut self.call);
        call.poll(cx).map(|outcome| (id, outcome))
    }
}
