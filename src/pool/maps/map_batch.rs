//! A job of consecutive items of one map, which are sent to a worker together.
//!
//! Lives in the parent. Must stay true: items that are split off keep their index in the map's input.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::map_results::MapResults;
use crate::call::executor::EntryOf;
use crate::call::item_writer::ItemWriter;
use crate::call::job::{CountOutcomes, GroupId, ItemsWritten, Job, measure_item, pack_item};
use crate::call::outcomes::Outcomes;
use crate::error::JoinError;
use crate::sys::image;
use crate::sys::image::Token;
use crate::task::Call;
use crate::transfer::blob::{BlobStore, PackedBlob};

/// Consecutive items of one map, each a call of `C`.
pub(in crate::pool) struct Batch<C: Call> {
    /// The index of the first item in the map's input.
    base: usize,
    items: Mutex<Vec<C::Args>>,
    /// How many there are, also while they are encoded.
    len: AtomicUsize,
    results: Arc<MapResults<C::Output>>,
}

impl<C: Call> Batch<C> {
    pub(in crate::pool) fn new(
        base: usize,
        items: Vec<C::Args>,
        results: Arc<MapResults<C::Output>>,
    ) -> Self {
        Self {
            base,
            len: AtomicUsize::new(items.len()),
            items: Mutex::new(items),
            results,
        }
    }

    /// Gives the items to `encode`, which runs code of the user, so that the lock is not held meanwhile.
    fn with_items<T>(&self, encode: impl FnOnce(&[C::Args]) -> T) -> T {
        let items = std::mem::take(&mut *self.lock());
        let out = encode(&items);
        *self.lock() = items;
        out
    }

    fn lock(&self) -> MutexGuard<'_, Vec<C::Args>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Call> Job for Batch<C> {
    fn name(&self) -> &'static str {
        C::name()
    }

    fn token(&self) -> io::Result<Token> {
        image::token::<EntryOf<C>>()
    }

    fn items(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    fn write(&self, writer: &mut ItemWriter) -> ItemsWritten {
        self.with_items(|items| {
            for (index, item) in items.iter().enumerate() {
                if let Err(fault) = writer.write(item) {
                    return ItemsWritten {
                        items: index,
                        stopped: Some(fault),
                    };
                }
            }
            ItemsWritten {
                items: items.len(),
                stopped: None,
            }
        })
    }

    fn measure(&self) -> u64 {
        self.with_items(|items| items.first().map_or(0, measure_item))
    }

    fn pack(&self, store: &BlobStore) -> Result<PackedBlob, String> {
        self.with_items(|items| match items.first() {
            Some(item) => pack_item(item, store),
            None => Err("the batch has no items".to_owned()),
        })
    }

    fn deliver_counted(&self, first: usize, outcomes: Outcomes<'_>, count: &mut dyn CountOutcomes) {
        let ran = outcomes.ran();
        let mut failed = 0;
        let mut items = self.base + first..;
        let mut span = Vec::with_capacity(outcomes.len());
        outcomes.for_each(C::name(), |outcome| {
            let item = items.next();
            let outcome = outcome.map_err(|error| error.of_item(item));
            if outcome.as_ref().is_err_and(|error| count.holds(error)) {
                return;
            }
            failed += u64::from(outcome.is_err());
            span.push(outcome);
        });
        count.count(span.len() as u64 - failed, failed);
        // Outcomes salvaged from an uncommitted reply have no run time.
        let ran = (!ran.is_zero()).then_some(ran);
        self.results.add(self.base + first, span, ran);
    }

    fn fail(&self, first: usize, count: usize, error: &JoinError) {
        let error = error.clone().about(C::name());
        let first = self.base + first;
        let of_item = |item| Err(error.clone().of_item(Some(item)));
        let span = (first..first + count).map(of_item).collect();
        self.results.add(first, span, None);
    }

    fn group(&self) -> Option<GroupId> {
        Some(self.results.group())
    }

    fn place(&self) -> u64 {
        self.base as u64
    }

    fn item(&self) -> Option<usize> {
        Some(self.base)
    }

    fn split(&self, at: usize) -> Arc<dyn Job> {
        let tail = self.lock().split_off(at);
        self.len.store(at, Ordering::Relaxed);
        Arc::new(Self::new(self.base + at, tail, Arc::clone(&self.results)))
    }
}

impl<C: Call> fmt::Debug for Batch<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("task", &C::name())
            .field("base", &self.base)
            .field("items", &self.items())
            .finish_non_exhaustive()
    }
}
