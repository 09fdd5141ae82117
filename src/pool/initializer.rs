//! Functions that a worker, or a fork server, runs once before the first task.
//!
//! Lives in the application; the functions run in the child. Each is a call like any other, sent in the worker's ring
//! under a key that no task has.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::call::Slot;
use crate::call::executor::EntryOf;
use crate::call::job::{ItemsWritten, Job, pack_item, write_item};
use crate::call::outcomes::Outcomes;
use crate::error::JoinError;
use crate::ring::Writer;
use crate::spawn::Preload;
use crate::sys::image;
use crate::sys::image::Token;
use crate::task::Call;
use crate::transfer::blob::{BlobPool, PackedBlob};

/// The key under which initializers are sent. No task has it.
pub(super) const INIT_TASK: u64 = 0;

/// Makes the job of an initializer, once for every worker.
pub(super) type Initializer = Arc<dyn Fn() -> Arc<dyn InitJob> + Send + Sync>;

/// The call of an initializer in one worker.
pub(super) trait InitJob: Job {
    /// Takes the result, once there is one. A text is the error that the function returned.
    fn outcome(&self) -> Option<Result<Result<(), String>, JoinError>>;

    /// What the function is called in errors: "the initializer", "the preload".
    fn kind(&self) -> &'static str;

    /// The call as a job.
    fn into_job(self: Arc<Self>) -> Arc<dyn Job>;
}

/// An initializer that calls `C`, with the same arguments in every worker.
pub(super) fn initializer<C>(kind: &'static str, arguments: C::Args) -> Initializer
where
    C: Call<Output = Result<(), String>>,
{
    let arguments = Arc::new(Mutex::new(arguments));
    Arc::new(move || {
        Arc::new(InitCall::<C> {
            kind,
            arguments: Arc::clone(&arguments),
            slot: Slot::new(),
        })
    })
}

/// The initializer of a worker that has none: its reply says that the worker is there.
pub(super) fn handshake() -> Arc<dyn InitJob> {
    initializer::<Handshake>("the start", ())()
}

struct Handshake;

impl Call for Handshake {
    type Args = ();
    type Output = Result<(), String>;

    fn name() -> &'static str {
        "procession::worker"
    }

    fn call((): ()) -> Self::Output {
        Ok(())
    }
}

/// The same function as the preload of a fork server.
pub(super) fn preload(initializer: Initializer) -> Preload {
    Preload(Box::new(move || {
        let init = initializer();
        let job = Arc::clone(&init).into_job();
        let verdict = move || match init.outcome()? {
            Ok(returned) => Some(returned),
            Err(error) => Some(Err(format!("the preload: {error}"))),
        };
        (job, Box::new(verdict))
    }))
}

struct InitCall<C: Call> {
    kind: &'static str,
    arguments: Arc<Mutex<C::Args>>,
    slot: Slot<C::Output>,
}

impl<C: Call> InitCall<C> {
    fn arguments(&self) -> MutexGuard<'_, C::Args> {
        let arguments = self.arguments.lock();
        arguments.unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Call<Output = Result<(), String>>> InitJob for InitCall<C> {
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

impl<C: Call<Output = Result<(), String>>> Job for InitCall<C> {
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
        let stopped = write_item(&*self.arguments(), writer).err();
        let items = usize::from(stopped.is_none());
        ItemsWritten { items, stopped }
    }

    fn pack(&self, pool: &Mutex<BlobPool>) -> Result<PackedBlob, String> {
        pack_item(&*self.arguments(), pool)
    }

    fn deliver(&self, _: usize, outcomes: Outcomes<'_>) -> usize {
        let mut failed = 0;
        outcomes.for_each(C::name(), |outcome| {
            failed = usize::from(outcome.is_err());
            self.slot.set(outcome);
        });
        failed
    }

    fn fail(&self, _: usize, _: usize, error: &JoinError) {
        self.slot.set(Err(error.clone()));
    }

    fn split(&self, _: usize) -> Arc<dyn Job> {
        unreachable!("an initializer is one item, and a job is split behind at least one")
    }
}

impl<C: Call> fmt::Debug for InitCall<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InitCall({})", C::name())
    }
}
