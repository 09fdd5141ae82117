//! What every worker runs before its first task.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::JoinError;
use crate::ring::Writer;
use crate::sys::image::{self, Token};
use crate::task::execution::EntryOf;
use crate::task::job::{Job, Outcomes, Wrote, each_outcome, pack_item, write_item};
use crate::task::{Call, Slot};
use crate::wire::parcel::{Packed, Store};

/// The key under which a worker's preparation is sent; no task has it.
pub(super) const PREPARATION: u64 = 0;

/// Makes one preparation for every worker.
pub(super) type Initializer = Arc<dyn Fn() -> Arc<dyn Prepares> + Send + Sync>;

/// A preparation, and how it went.
pub(super) trait Prepares: Job {
    /// How it went, once it has.
    fn outcome(&self) -> Option<Result<Result<(), String>, JoinError>>;
}

/// Makes preparations that call `C` with the same arguments every time.
pub(super) fn initializer<C>(arguments: C::Args) -> Initializer
where
    C: Call<Output = Result<(), String>>,
{
    let arguments = Arc::new(Mutex::new(arguments));
    Arc::new(move || {
        Arc::new(Preparation::<C> {
            arguments: Arc::clone(&arguments),
            slot: Slot::new(),
        })
    })
}

struct Preparation<C: Call> {
    arguments: Arc<Mutex<C::Args>>,
    slot: Slot<C::Output>,
}

impl<C: Call<Output = Result<(), String>>> Prepares for Preparation<C> {
    fn outcome(&self) -> Option<Result<Result<(), String>, JoinError>> {
        self.slot.take()
    }
}

impl<C: Call<Output = Result<(), String>>> Job for Preparation<C> {
    fn name(&self) -> &'static str {
        C::name()
    }

    fn token(&self) -> io::Result<Token> {
        image::token::<EntryOf<C>>()
    }

    fn items(&self) -> usize {
        1
    }

    fn write(&self, writer: &mut Writer<'_>) -> Wrote {
        let arguments = self
            .arguments
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match write_item(&*arguments, writer) {
            Ok(()) => Wrote {
                items: 1,
                stopped: None,
            },
            Err(fault) => Wrote {
                items: 0,
                stopped: Some(fault),
            },
        }
    }

    fn pack(&self, store: &Mutex<Store>) -> Result<Packed, String> {
        let arguments = self
            .arguments
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        pack_item(&*arguments, store)
    }

    fn deliver(&self, _: usize, mut outcomes: Outcomes<'_>) -> usize {
        let mut failed = 0;
        each_outcome(&mut outcomes, C::name(), |outcome| {
            failed = usize::from(outcome.is_err());
            self.slot.set(outcome);
        });
        failed
    }

    fn fail(&self, _: usize, _: usize, error: &JoinError) {
        self.slot.set(Err(error.clone()));
    }

    fn split(&self, _: usize) -> Arc<dyn Job> {
        unreachable!("a preparation has one item, and a job is split behind at least one")
    }
}

impl<C: Call> fmt::Debug for Preparation<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Preparation({})", C::name())
    }
}
