//! What every worker runs before its first task.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::call::Slot;
use crate::call::job::{ItemsWritten, Job};
use crate::call::outcomes::Outcomes;
use crate::call::single::OneCall;
use crate::error::JoinError;
use crate::ring::Writer;
use crate::spawn::Preload;
use crate::sys::image::Token;
use crate::task::Call;
use crate::transfer::blob::{BlobPool, PackedBlob};

/// The key under which a worker's preparation is sent; no task has it.
pub(super) const PREPARATION: u64 = 0;

/// Makes one preparation for every worker.
pub(super) type Initializer = Arc<dyn Fn() -> Arc<dyn InitJob> + Send + Sync>;

/// A preparation, and how it went.
pub(super) trait InitJob: Job {
    /// How it went, once it has. The error says what it was.
    fn outcome(&self) -> Option<Result<Result<(), String>, JoinError>>;

    /// What it is to the user.
    fn kind(&self) -> &'static str;

    /// The preparation as a job.
    fn into_job(self: Arc<Self>) -> Arc<dyn Job>;
}

/// The preparation of a worker that has none: it only says that the worker is there.
pub(super) fn handshake() -> Arc<dyn InitJob> {
    initializer::<Present>("the start", ())()
}

struct Present;

impl Call for Present {
    type Args = ();
    type Output = Result<(), String>;

    fn name() -> &'static str {
        "procession::worker"
    }

    fn call((): ()) -> Self::Output {
        Ok(())
    }
}

/// One preparation and then another, which are sent one after the other.
pub(super) fn both(first: Arc<dyn InitJob>, then: Arc<dyn InitJob>) -> Arc<dyn InitJob> {
    Arc::new(Both {
        first,
        then,
        delivered: AtomicBool::new(false),
    })
}

#[derive(Debug)]
struct Both {
    first: Arc<dyn InitJob>,
    then: Arc<dyn InitJob>,
    /// Whether the first has its outcome.
    delivered: AtomicBool,
}

impl Both {
    fn current(&self) -> &Arc<dyn InitJob> {
        match self.delivered.load(Ordering::Acquire) {
            false => &self.first,
            true => &self.then,
        }
    }
}

impl InitJob for Both {
    fn outcome(&self) -> Option<Result<Result<(), String>, JoinError>> {
        match self.first.outcome() {
            // It went well, now or before.
            Some(Ok(Ok(()))) | None => self.then.outcome(),
            failure => {
                self.delivered.store(false, Ordering::Release); // it is the first that is spoken of
                failure
            }
        }
    }

    fn kind(&self) -> &'static str {
        self.current().kind()
    }

    fn into_job(self: Arc<Self>) -> Arc<dyn Job> {
        self
    }
}

impl Job for Both {
    fn name(&self) -> &'static str {
        self.current().name()
    }

    fn token(&self) -> io::Result<Token> {
        self.current().token()
    }

    fn items(&self) -> usize {
        1
    }

    fn write(&self, writer: &mut Writer<'_>) -> ItemsWritten {
        self.current().write(writer)
    }

    fn pack(&self, pool: &Mutex<BlobPool>) -> Result<PackedBlob, String> {
        self.current().pack(pool)
    }

    fn deliver(&self, first: usize, outcomes: Outcomes<'_>) -> usize {
        let failed = self.current().deliver(first, outcomes);
        self.delivered.store(true, Ordering::Release);
        failed
    }

    fn fail(&self, first: usize, count: usize, error: &JoinError) {
        self.first.fail(first, count, error);
        self.then.fail(first, count, error);
    }

    fn split(&self, at: usize) -> Arc<dyn Job> {
        self.current().split(at)
    }
}

/// The preload of a fork server whose preparation `make` makes.
pub(super) fn preload(make: Initializer) -> Preload {
    Preload(Box::new(move || {
        let preparation = make();
        let job = Arc::clone(&preparation).into_job();
        let verdict = move || match preparation.outcome()? {
            Ok(outcome) => Some(outcome),
            Err(error) => Some(Err(format!("the preload: {error}"))),
        };
        (job, Box::new(verdict))
    }))
}

/// Makes preparations that call `C` with the same arguments every time.
pub(super) fn initializer<C>(kind: &'static str, arguments: C::Args) -> Initializer
where
    C: Call<Output = Result<(), String>>,
{
    let arguments = Arc::new(Mutex::new(arguments));
    Arc::new(move || {
        Arc::new(Preparation::<C> {
            kind,
            arguments: Arc::clone(&arguments),
            slot: Slot::new(),
        })
    })
}

struct Preparation<C: Call> {
    kind: &'static str,
    arguments: Arc<Mutex<C::Args>>,
    slot: Slot<C::Output>,
}

impl<C: Call<Output = Result<(), String>>> InitJob for Preparation<C> {
    fn outcome(&self) -> Option<Result<Result<(), String>, JoinError>> {
        let outcome = self.slot.take()?;
        Some(outcome.map(|returned| returned.map_err(|why| format!("{}: {why}", self.kind))))
    }

    fn kind(&self) -> &'static str {
        self.kind
    }

    fn into_job(self: Arc<Self>) -> Arc<dyn Job> {
        self
    }
}

impl<C: Call<Output = Result<(), String>>> OneCall for Preparation<C> {
    type Call = C;

    fn with_arguments<T>(&self, f: impl FnOnce(&C::Args) -> T) -> Option<T> {
        let arguments = self
            .arguments
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Some(f(&arguments))
    }

    fn settle(&self, outcome: Result<C::Output, JoinError>) {
        self.slot.set(outcome);
    }

    fn settle_failed(&self, error: &JoinError) {
        self.slot.set(Err(error.clone()));
    }
}

impl<C: Call> fmt::Debug for Preparation<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Preparation({})", C::name())
    }
}
