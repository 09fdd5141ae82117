//! A job of one call: its arguments until they are sent, and its outcome once it has come.
//!
//! Runs in the parent.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use super::Slot;
use super::executor::EntryOf;
use super::item_writer::ItemWriter;
use super::job::{CountOutcomes, ItemsWritten, Job, measure_item, pack_item};
use super::outcomes::Outcomes;
use crate::codec::codec::EncodeFault;
use crate::error::JoinError;
use crate::sys::image;
use crate::sys::image::Token;
use crate::task::Call;
use crate::transfer::blob::{BlobStore, PackedBlob};

/// A job that is one call. Everything that [`Job`] asks for follows from its arguments and from what is done with its
/// outcome.
pub(crate) trait OneCall: Send + Sync + fmt::Debug {
    type Call: Call;

    /// Gives the arguments to `f`; `None` if they were dropped.
    fn with_arguments<T>(&self, f: impl FnOnce(&<Self::Call as Call>::Args) -> T) -> Option<T>;

    /// As [`OneCall::with_arguments`], without waiting until another thread has encoded them.
    fn try_with_arguments<T>(
        &self,
        f: impl FnOnce(&<Self::Call as Call>::Args) -> T,
    ) -> TryWith<T> {
        self.with_arguments(f)
            .map_or(TryWith::Dropped, TryWith::Done)
    }

    /// Takes the outcome of the call.
    fn settle(&self, outcome: Result<<Self::Call as Call>::Output, JoinError>);

    /// Takes an error that ends the call without an outcome.
    fn settle_failed(&self, error: &JoinError) {
        self.settle(Err(error.clone().about(Self::Call::name())));
    }

    /// Drops the arguments, unless other jobs need them.
    fn drop_arguments(&self) {}

    /// As [`Job::wants_worker`].
    fn wants_worker(&self) -> bool {
        false
    }

    /// As [`Job::lend`].
    fn lend(&self, _worker: u64, _pid: u32) {}

    /// As [`Job::skip`].
    fn skip(&self) {}
}

/// What came of the use of arguments without waiting for them.
#[derive(Debug)]
pub(crate) enum TryWith<T> {
    Done(T),
    /// Another thread has them.
    Busy,
    /// They were dropped.
    Dropped,
}

/// Why arguments that were dropped are not written.
const IS_SETTLED: &str = "it has an outcome";

impl<J: OneCall> Job for J {
    fn name(&self) -> &'static str {
        J::Call::name()
    }

    fn token(&self) -> io::Result<Token> {
        image::token::<EntryOf<J::Call>>()
    }

    fn items(&self) -> usize {
        1
    }

    fn write(&self, writer: &mut ItemWriter) -> ItemsWritten {
        let written = match self.try_with_arguments(|arguments| writer.write(arguments)) {
            TryWith::Done(written) => written,
            // As arguments that are too large: they are packed by a thread that may wait.
            TryWith::Busy => Err(EncodeFault::Full),
            TryWith::Dropped => Err(EncodeFault::Refused(IS_SETTLED.to_owned())),
        };
        ItemsWritten {
            items: usize::from(written.is_ok()),
            stopped: written.err(),
        }
    }

    fn measure(&self) -> u64 {
        match self.try_with_arguments(measure_item) {
            TryWith::Done(bytes) => bytes,
            TryWith::Busy | TryWith::Dropped => 0,
        }
    }

    fn pack(&self, store: &BlobStore) -> Result<PackedBlob, String> {
        self.with_arguments(|arguments| pack_item(arguments, store))
            .unwrap_or_else(|| Err(IS_SETTLED.to_owned()))
    }

    fn deliver_counted(&self, _: usize, outcomes: Outcomes<'_>, count: &mut dyn CountOutcomes) {
        outcomes.for_each(J::Call::name(), |outcome| {
            if outcome.as_ref().is_err_and(|error| count.holds(error)) {
                return;
            }
            let failed = u64::from(outcome.is_err());
            count.count(1 - failed, failed);
            self.settle(outcome);
        });
    }

    fn fail(&self, _: usize, _: usize, error: &JoinError) {
        self.settle_failed(error);
    }

    fn forget_arguments(&self) {
        self.drop_arguments();
    }

    fn wants_worker(&self) -> bool {
        OneCall::wants_worker(self)
    }

    fn lend(&self, worker: u64, pid: u32) {
        OneCall::lend(self, worker, pid);
    }

    fn skip(&self) {
        OneCall::skip(self);
    }

    fn split(&self, _: usize) -> Arc<dyn Job> {
        unreachable!("one call has one item, and a job is split behind at least one")
    }
}

/// One call, and the slot for its outcome.
pub(crate) struct Single<C: Call> {
    arguments: Mutex<HeldArguments<C::Args>>,
    slot: Slot<C::Output>,
}

/// Where the arguments of a call are.
enum HeldArguments<A> {
    Here(A),
    /// They are being encoded.
    Lent,
    Dropped,
}

/// A call whose result has the type `R`; what a handle holds.
pub(crate) trait Awaited<R>: Job {
    fn slot(&self) -> &Slot<R>;

    /// The outcome, once there is one. A copy of the process that has made the call gets an error.
    fn poll_outcome(&self, cx: &mut Context<'_>) -> Poll<Result<R, JoinError>> {
        match self.slot().is_elsewhere() {
            true => Poll::Ready(Err(JoinError::elsewhere(self.name()))),
            false => self.slot().poll(cx),
        }
    }

    /// The call as a job, which does not name its result type.
    fn into_job(self: Arc<Self>) -> Arc<dyn Job>;
}

impl<C: Call> Single<C> {
    pub(crate) fn new(arguments: C::Args) -> Self {
        Self {
            arguments: Mutex::new(HeldArguments::Here(arguments)),
            slot: Slot::new(),
        }
    }

    fn arguments(&self) -> MutexGuard<'_, HeldArguments<C::Args>> {
        self.arguments
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Call> Awaited<C::Output> for Single<C> {
    fn slot(&self) -> &Slot<C::Output> {
        &self.slot
    }

    fn into_job(self: Arc<Self>) -> Arc<dyn Job> {
        self
    }
}

impl<C: Call> OneCall for Single<C> {
    type Call = C;

    fn with_arguments<T>(&self, f: impl FnOnce(&C::Args) -> T) -> Option<T> {
        let taken = {
            let mut arguments = self.arguments();
            match std::mem::replace(&mut *arguments, HeldArguments::Lent) {
                HeldArguments::Here(taken) => taken,
                other => {
                    *arguments = other;
                    return None;
                }
            }
        };
        // The lock is not held: encoding the arguments runs code of the user, and so does dropping them.
        let out = f(&taken);
        let mut arguments = self.arguments();
        if matches!(*arguments, HeldArguments::Lent) {
            *arguments = HeldArguments::Here(taken);
        }
        Some(out)
    }

    fn settle(&self, outcome: Result<C::Output, JoinError>) {
        self.drop_arguments();
        self.slot.set(outcome);
    }

    fn drop_arguments(&self) {
        let arguments = std::mem::replace(&mut *self.arguments(), HeldArguments::Dropped);
        // The lock is released already: dropping the arguments runs code of the user.
        drop(arguments);
    }
}

impl<C: Call> fmt::Debug for Single<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Single")
            .field("task", &C::name())
            .field("slot", &self.slot)
            .finish()
    }
}
