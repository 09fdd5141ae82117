//! The caller's side of a call: arguments until they are sent, an outcome when it has come.
//!
//! Runs in the parent. The pool, the supervisor of a process and the preload of a fork server know jobs only as
//! `dyn Job`; the types of arguments and results are known here and in the executor.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::Slot;
use super::envelope::ITEM_PREFIX;
use super::executor::EntryOf;
use super::outcomes::Outcomes;
use crate::codec::attachments;
use crate::codec::attachments::Bag;
use crate::codec::codec;
use crate::codec::codec::EncodeFault;
use crate::error::JoinError;
use crate::ring::Writer;
use crate::sys::image;
use crate::sys::image::Token;
use crate::task::Call;
use crate::transfer::blob;
use crate::transfer::blob::{BlobPool, PackedBlob};

/// One or more items of work whose types are erased.
///
/// The arguments stay with the job until it has its outcomes, so that it can be sent to another worker if the one that
/// had it never started it; or until [`Job::forget_arguments`].
pub(crate) trait Job: Send + Sync + fmt::Debug {
    /// The function's path.
    fn name(&self) -> &'static str;

    /// The function's place in the image's table.
    fn token(&self) -> io::Result<Token>;

    /// How many items there are.
    fn items(&self) -> usize;

    /// Encodes items from the first on, as many as fit.
    fn write(&self, writer: &mut Writer<'_>) -> ItemsWritten;

    /// Encodes the first item, which does not fit a frame, into a blob. May take long: not on a runtime thread.
    fn pack(&self, pool: &Mutex<BlobPool>) -> Result<PackedBlob, String>;

    /// Takes the outcomes of the items from `first` on. Returns how many of them were failures.
    fn deliver(&self, first: usize, outcomes: Outcomes<'_>) -> usize;

    /// Ends the `count` items from `first` on with an error.
    fn fail(&self, first: usize, count: usize, error: &JoinError);

    /// Drops the arguments: they were sent, and will not be sent again.
    fn forget_arguments(&self) {}

    /// The group of the job, if it can be cancelled together with others.
    fn group(&self) -> Option<GroupId> {
        None
    }

    /// Moves the items from `at` on, of which there is at least one, to a job of their own.
    fn split(&self, at: usize) -> Arc<dyn Job>;
}

/// Names a group of jobs that can be cancelled together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupId(u64);

impl GroupId {
    /// An id that no other group of this process has.
    pub(crate) fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// How far [`Job::write`] got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ItemsWritten {
    pub(crate) items: usize,
    /// Why not all items were written.
    pub(crate) stopped: Option<EncodeFault>,
}

/// Writes one item, prefixed by its length.
#[inline]
pub(crate) fn write_item<A: Serialize>(
    arguments: &A,
    writer: &mut Writer<'_>,
) -> Result<(), EncodeFault> {
    let at = writer.len();
    let attached = attachments::stowed();
    if !writer.extend(&[0; ITEM_PREFIX]) {
        return Err(EncodeFault::Full);
    }
    match codec::encode(arguments, writer) {
        Ok(()) => {
            let len = (writer.len() - at - ITEM_PREFIX) as u32;
            writer.patch(at, &len.to_le_bytes());
            Ok(())
        }
        Err(fault) => {
            writer.rewind(at);
            attachments::unstow(attached);
            Err(fault)
        }
    }
}

/// Encodes `arguments` into a blob from `pool`.
pub(crate) fn pack_item<A: Serialize>(
    arguments: &A,
    pool: &Mutex<BlobPool>,
) -> Result<PackedBlob, String> {
    let mut attached = Bag::default();
    let blob = blob::encode(arguments, pool, &mut attached)?;
    Ok(PackedBlob {
        blob,
        attachments: attached.lend(),
    })
}

/// One call, and the slot for its outcome.
pub(crate) struct Single<C: Call> {
    arguments: Mutex<Option<C::Args>>,
    slot: Slot<C::Output>,
}

/// A call whose result has the type `R`; what a handle holds.
pub(crate) trait Awaited<R>: Job {
    fn slot(&self) -> &Slot<R>;

    /// The call as a job, which does not name its result type.
    fn into_job(self: Arc<Self>) -> Arc<dyn Job>;
}

impl<C: Call> Single<C> {
    pub(crate) fn new(arguments: C::Args) -> Self {
        Self {
            arguments: Mutex::new(Some(arguments)),
            slot: Slot::new(),
        }
    }

    fn settle(&self, outcome: Result<C::Output, JoinError>) {
        self.drop_arguments();
        self.slot.set(outcome);
    }

    fn drop_arguments(&self) {
        let arguments = self
            .arguments
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(arguments);
    }

    fn with_arguments<T>(&self, gone: T, f: impl FnOnce(&C::Args) -> T) -> T {
        let arguments = self
            .arguments
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match &*arguments {
            Some(arguments) => f(arguments),
            None => gone,
        }
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

impl<C: Call> Job for Single<C> {
    fn name(&self) -> &'static str {
        C::name()
    }

    fn token(&self) -> io::Result<Token> {
        image::token::<EntryOf<C>>()
    }

    fn items(&self) -> usize {
        1
    }

    fn write(&self, writer: &mut Writer<'_>) -> ItemsWritten {
        let gone = Err(EncodeFault::Refused("it has an outcome".to_owned()));
        match self.with_arguments(gone, |arguments| write_item(arguments, writer)) {
            Ok(()) => ItemsWritten {
                items: 1,
                stopped: None,
            },
            Err(fault) => ItemsWritten {
                items: 0,
                stopped: Some(fault),
            },
        }
    }

    fn pack(&self, pool: &Mutex<BlobPool>) -> Result<PackedBlob, String> {
        let gone = Err("it has an outcome".to_owned());
        self.with_arguments(gone, |arguments| pack_item(arguments, pool))
    }

    fn deliver(&self, _: usize, outcomes: Outcomes<'_>) -> usize {
        let mut failed = 0;
        outcomes.for_each(C::name(), |outcome| {
            failed = usize::from(outcome.is_err());
            self.settle(outcome);
        });
        failed
    }

    fn fail(&self, _: usize, _: usize, error: &JoinError) {
        self.settle(Err(error.clone().about(C::name())));
    }

    fn forget_arguments(&self) {
        self.drop_arguments();
    }

    fn split(&self, _: usize) -> Arc<dyn Job> {
        unreachable!("a single call has one item, and a job is split behind at least one")
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
