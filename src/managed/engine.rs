//! What runs the calls at the home of a state: a pool of one worker, or a thread.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use futures::future::Either;
use futures::stream::pending;

use super::reads::pending_reads::PendingReads;
use super::state_thread::{StateThread, ThreadCall};
use crate::error::JoinError;
use crate::pool::{Pool, PoolEvent, Run};
use crate::task::Call;

/// See the module. A clone is another handle on the same.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    runner: Runner,
    pending: Arc<PendingReads>,
}

#[derive(Debug, Clone)]
enum Runner {
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
    /// A pool whose worker sends the answers of reads to `pending`.
    pub(super) fn pool(pool: Pool, pending: Arc<PendingReads>) -> Self {
        let runner = Runner::Pool(pool);
        Self { runner, pending }
    }

    /// A thread that sends the answers of reads to `pending`.
    pub(super) fn thread(thread: StateThread, pending: Arc<PendingReads>) -> Self {
        let runner = Runner::Thread(thread);
        Self { runner, pending }
    }

    pub(super) fn call<C: Call>(&self, arguments: C::Args) -> EngineCall<C::Output> {
        match &self.runner {
            Runner::Pool(pool) => EngineCall::Pool(pool.run_sparing::<C>(arguments)),
            Runner::Thread(thread) => EngineCall::Thread(thread.call::<C>(arguments)),
        }
    }

    /// The reads that it runs.
    pub(super) fn pending_reads(&self) -> &Arc<PendingReads> {
        &self.pending
    }

    /// What happens to the process of the state. A thread has none.
    pub(super) fn events(&self) -> impl Stream<Item = PoolEvent> + Send + Unpin + use<> {
        match &self.runner {
            Runner::Pool(pool) => Either::Left(pool.events()),
            Runner::Thread(_) => Either::Right(pending()),
        }
    }

    /// How often the state was made anew.
    pub(super) fn generation(&self) -> u64 {
        match &self.runner {
            Runner::Pool(pool) => pool.generations().saturating_sub(1),
            Runner::Thread(_) => 0,
        }
    }

    /// Ends it in an orderly way: the state is dropped where it lives.
    pub(super) async fn end(self) {
        match self.runner {
            Runner::Pool(pool) => {
                pool.shutdown().await;
            }
            Runner::Thread(_) => {}
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
