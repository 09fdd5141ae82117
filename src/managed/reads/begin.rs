//! What the state's thread does of a read: it lends the state and passes the read on.
//!
//! Runs in the process of the state, on the thread of the state.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use super::read_answer::{Incarnation, ReadMessage};
use super::read_threads;
use super::read_threads::ReadJob;
use crate::call::relayed;
use crate::call::relayed::RelayedOutcome;
use crate::queue::Sender;
use crate::task::Call;
use crate::transfer::encoded_value::EncodedValue;

/// Begins a read, or runs it if the state may not be lent.
#[derive(Debug)]
pub(super) struct BeginRead;

/// What became of a read on the state's thread.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ReadStart {
    /// It has begun, and its answer comes through the queue.
    Begun(Incarnation),
    /// It has run.
    Done(RelayedOutcome),
}

impl Call for BeginRead {
    /// The number of the read, the bits of its function's token, and its arguments.
    type Args = (u64, u64, EncodedValue);
    type Output = ReadStart;

    fn name() -> &'static str {
        "procession::Managed::read"
    }

    fn call((id, token, arguments): Self::Args) -> ReadStart {
        let Some(state) = relayed::lend_state(token) else {
            return ReadStart::Done(relayed::run(token, arguments));
        };
        let job = ReadJob {
            state,
            id,
            token,
            arguments,
        };
        match read_threads::give(job) {
            Ok(incarnation) => ReadStart::Begun(incarnation),
            Err(job) => ReadStart::Done(job.run_here()),
        }
    }
}

/// As `C`, which makes the state, in a process that sends the answers of reads through this end.
#[derive(Debug)]
pub(in crate::managed) struct OpenWithReads<C>(PhantomData<C>);

impl<C: Call<Output = Result<(), String>>> Call for OpenWithReads<C> {
    type Args = (Sender<ReadMessage>, C::Args);
    type Output = C::Output;

    fn name() -> &'static str {
        C::name()
    }

    fn call((answers, arguments): Self::Args) -> Self::Output {
        C::call(arguments)?;
        read_threads::install(answers);
        Ok(())
    }
}
