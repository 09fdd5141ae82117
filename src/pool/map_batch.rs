//! Some items of a map, sent to a worker together.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::map_results::MapResults;
use crate::call::executor::EntryOf;
use crate::call::job::{ItemsWritten, Job, pack_item, write_item};
use crate::call::outcomes::Outcomes;
use crate::error::JoinError;
use crate::ring::Writer;
use crate::sys::image;
use crate::sys::image::Token;
use crate::task::Call;
use crate::transfer::blob::{BlobPool, PackedBlob};

/// Consecutive items of one map, each a call of `C`.
pub(super) struct Batch<C: Call> {
    /// The index of the first in the map's input.
    base: usize,
    items: Mutex<Vec<C::Args>>,
    gather: Arc<MapResults<C::Output>>,
}

impl<C: Call> Batch<C> {
    pub(super) fn new(
        base: usize,
        items: Vec<C::Args>,
        gather: Arc<MapResults<C::Output>>,
    ) -> Self {
        Self {
            base,
            items: Mutex::new(items),
            gather,
        }
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
        self.lock().len()
    }

    fn write(&self, writer: &mut Writer<'_>) -> ItemsWritten {
        let items = self.lock();
        for (index, item) in items.iter().enumerate() {
            if let Err(fault) = write_item(item, writer) {
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
    }

    fn pack(&self, pool: &Mutex<BlobPool>) -> Result<PackedBlob, String> {
        match self.lock().first() {
            Some(item) => pack_item(item, pool),
            None => Err("there is nothing in it".to_owned()),
        }
    }

    fn deliver(&self, first: usize, outcomes: Outcomes<'_>) -> usize {
        let ran = outcomes.ran();
        let mut failed = 0;
        let mut stretch = Vec::with_capacity(outcomes.len());
        outcomes.for_each(C::name(), |outcome| {
            failed += usize::from(outcome.is_err());
            stretch.push(outcome);
        });
        // What was taken before its reply was committed does not say how long it took.
        let ran = (!ran.is_zero()).then_some(ran);
        self.gather.add(self.base + first, stretch, ran);
        failed
    }

    fn fail(&self, first: usize, count: usize, error: &JoinError) {
        let error = error.clone().about(C::name());
        let stretch = (0..count).map(|_| Err(error.clone())).collect();
        self.gather.add(self.base + first, stretch, None);
    }

    fn group(&self) -> usize {
        Arc::as_ptr(&self.gather).addr()
    }

    fn split(&self, at: usize) -> Arc<dyn Job> {
        let tail = self.lock().split_off(at);
        Arc::new(Self::new(self.base + at, tail, Arc::clone(&self.gather)))
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
