//! What runs the calls at the home of a state: a pool of one worker, or a thread.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::state_thread::{StateThread, ThreadCall};
use crate::error::JoinError;
use crate::pool::{Pool, Run};
use crate::task::Call;

/// See the module. A clone is another handle on the same.
#[derive(Debug, Clone)]
pub(super) enum Engine {
    Pool(Pool),
    Thread(StateThread),
}

/// A call at the home of its state, which is submitted when it is first polled. Dropping it removes it if it waits.
#[derive(Debug)]
pub(super) enum EngineCall<R> {
    Pool(Run<R>),
    Thread(ThreadCall<R>),
}

impl Engine {
    pub(super) fn call<C: Call>(&self, arguments: C::Args) -> EngineCall<C::Output> {
        match self {
            Self::Pool(pool) => EngineCall::Pool(pool.run_sparing::<C>(arguments)),
            Self::Thread(thread) => EngineCall::Thread(thread.call::<C>(arguments)),
        }
    }

    /// How often the state was made anew.
    pub(super) fn generation(&self) -> u64 {
        match self {
            Self::Pool(pool) => pool.generations().saturating_sub(1),
            Self::Thread(_) => 0,
        }
    }

    /// Ends it in an orderly way: the state is dropped where it lives.
    pub(super) async fn end(self) {
        match self {
            Self::Pool(pool) => {
                pool.shutdown().await;
            }
            Self::Thread(_) => {}
        }
    }
}

impl<R> Future for EngineCall<R> {
    type Output = Result<R, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Pool(run) => Pin::new(run).poll(cx),
            Self::Thread(call) => Pin::new(call).poll(cx),
        }
    }
}
