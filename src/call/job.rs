//! What can be written as a request: one call or a batch of them, with erased types.
//!
//! Runs in the parent. The pool, the supervisor of a process and the preload of a fork server know their work only as
//! `dyn Job`. The types of arguments and results are known to the implementations, and to the executor in the worker.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::item_writer::ItemWriter;
use super::outcomes::Outcomes;
use crate::codec::attachments;
use crate::codec::attachments::Attachments;
use crate::codec::cached;
use crate::codec::codec;
use crate::codec::codec::EncodeFault;
use crate::error::JoinError;
use crate::sys::image::Token;
use crate::transfer::blob;
use crate::transfer::blob::{BlobStore, PackedBlob};

/// One or more items of work whose types are erased.
///
/// The job keeps its arguments until it has its outcomes or until [`Job::forget_arguments`]. So it can be sent to
/// another worker if the first worker never started it.
pub(crate) trait Job: Send + Sync + fmt::Debug {
    /// The function's path.
    fn name(&self) -> &'static str;

    /// The function's place in the image's table.
    fn token(&self) -> io::Result<Token>;

    /// How many items there are.
    fn items(&self) -> usize;

    /// Encodes items from the first on, as many as fit.
    fn write(&self, writer: &mut ItemWriter) -> ItemsWritten;

    /// How many bytes the first item takes. Of an item with very many parts, how many those take that were counted.
    fn measure(&self) -> u64;

    /// Encodes the first item, which does not fit a frame, into a blob. May take long: not on a runtime thread.
    fn pack(&self, store: &BlobStore) -> Result<PackedBlob, String>;

    /// Takes the outcomes of the items from `first` on.
    fn deliver(&self, first: usize, outcomes: Outcomes<'_>) {
        self.deliver_counted(first, outcomes, &mut Uncounted);
    }

    /// As [`Job::deliver`]. The outcomes are counted before a caller can see them.
    fn deliver_counted(&self, first: usize, outcomes: Outcomes<'_>, count: &mut dyn CountOutcomes);

    /// Ends the `count` items from `first` on with an error.
    fn fail(&self, first: usize, count: usize, error: &JoinError);

    /// Drops the arguments: they were sent, and will not be sent again.
    fn forget_arguments(&self) {}

    /// The group of the job, if it can be cancelled together with others.
    fn group(&self) -> Option<GroupId> {
        None
    }

    /// Whether it is a request for a worker, which is lent out instead of being sent the job.
    fn wants_worker(&self) -> bool {
        false
    }

    /// The worker with this id, whose process has this `pid`, was lent out for the job.
    fn lend(&self, _worker: u64, _pid: u32) {}

    /// The job will not run, because its worker is gone, and that is no failure.
    fn skip(&self) {}

    /// The place of the first item in the input of its map.
    fn place(&self) -> u64 {
        0
    }

    /// The same as an index, if it is a job of a map.
    fn item(&self) -> Option<usize> {
        None
    }

    /// Moves the items from `at` on, of which there is at least one, to a job of their own.
    fn split(&self, at: usize) -> Arc<dyn Job>;
}

/// Is told of the outcomes of a reply before its job takes them.
pub(crate) trait CountOutcomes {
    /// Whether the job does not take this failure: its item runs again.
    fn holds(&mut self, error: &JoinError) -> bool;

    /// The job takes so many values and failures now.
    fn count(&mut self, completed: u64, failed: u64);
}

/// Counts nothing and holds nothing back.
struct Uncounted;

impl CountOutcomes for Uncounted {
    fn holds(&mut self, _: &JoinError) -> bool {
        false
    }

    fn count(&mut self, _: u64, _: u64) {}
}

/// Names a group of jobs that can be cancelled together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// How many bytes `arguments` take; of very many parts, the bytes of the first. Attaches nothing.
pub(crate) fn measure_item<A: Serialize>(arguments: &A) -> u64 {
    let mut attached = Attachments::default();
    attachments::collect(&mut attached, || {
        cached::collect(&mut Vec::new(), || codec::measure_bounded(arguments))
    }) as u64
}

/// Encodes `arguments` into a blob from `store`.
pub(crate) fn pack_item<A: Serialize>(
    arguments: &A,
    store: &BlobStore,
) -> Result<PackedBlob, String> {
    let mut attached = Attachments::default();
    let mut named = Vec::new();
    let blob = cached::collect(&mut named, || blob::encode(arguments, store, &mut attached))?;
    Ok(PackedBlob {
        store: Arc::clone(store),
        blob,
        has_ends: attached.has_ends(),
        attachments: attached.lend(),
        cached: named,
    })
}
