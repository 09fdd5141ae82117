//! Functions that a worker, or a fork server, runs once before the first task.
//!
//! Lives in the application; the functions run in the child. Each is a call like any other, sent in the worker's ring
//! under a key that no task has.

use std::fmt;
use std::sync::Arc;

use crate::call::Slot;
use crate::call::common_arguments::CommonArguments;
use crate::call::job::Job;
use crate::call::single::{OneCall, TryWith};
use crate::error::JoinError;
use crate::spawn::{Preload, PreloadResult, Surroundings};
use crate::task::Call;

/// The key under which initializers are sent. No task has it.
pub(in crate::pool) const INIT_TASK: u64 = 0;

/// The kind of the initializer that runs nothing of the user.
pub(in crate::pool) const HANDSHAKE: &str = "the start";

/// Makes the job of an initializer, once for every worker.
pub(in crate::pool) type Initializer = Arc<dyn Fn() -> Arc<dyn InitJob> + Send + Sync>;

/// The call of an initializer in one worker.
pub(in crate::pool) trait InitJob: Job {
    /// Takes the result, once there is one. A text is the error that the function returned.
    fn outcome(&self) -> Option<Result<Result<(), String>, JoinError>>;

    /// What the function is called in errors: "the initializer", "the preload".
    fn kind(&self) -> &'static str;

    /// The call as a job.
    fn into_job(self: Arc<Self>) -> Arc<dyn Job>;
}

/// An initializer that calls `C`, with the same arguments in every worker.
pub(in crate::pool) fn initializer<C>(kind: &'static str, arguments: C::Args) -> Initializer
where
    C: Call<Output = Result<(), String>>,
{
    let arguments = CommonArguments::new(arguments);
    Arc::new(move || {
        Arc::new(InitCall::<C> {
            kind,
            arguments: arguments.clone(),
            slot: Slot::new(),
        })
    })
}

/// The initializer of a worker that has none: its reply says that the worker is there.
pub(in crate::pool) fn handshake() -> Arc<dyn InitJob> {
    initializer::<Handshake>(HANDSHAKE, ())()
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

/// The same function as the preload of a fork server with these surroundings.
pub(in crate::pool) fn preload(initializer: Initializer, surroundings: Surroundings) -> Preload {
    let make = move || -> (Arc<dyn Job>, PreloadResult) {
        let init = initializer();
        let job = Arc::clone(&init).into_job();
        let verdict = move || match init.outcome()? {
            Ok(returned) => Some(returned),
            Err(error) => Some(Err(format!("the preload: {error}"))),
        };
        (job, Box::new(verdict))
    };
    Preload {
        make: Box::new(make),
        surroundings,
    }
}

struct InitCall<C: Call> {
    kind: &'static str,
    arguments: CommonArguments<C::Args>,
    slot: Slot<C::Output>,
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

impl<C: Call<Output = Result<(), String>>> OneCall for InitCall<C> {
    type Call = C;

    fn with_arguments<T>(&self, f: impl FnOnce(&C::Args) -> T) -> Option<T> {
        Some(self.arguments.with(f))
    }

    fn try_with_arguments<T>(&self, f: impl FnOnce(&C::Args) -> T) -> TryWith<T> {
        self.arguments.try_with(f)
    }

    fn settle(&self, outcome: Result<C::Output, JoinError>) {
        self.slot.set(outcome);
    }

    fn settle_failed(&self, error: &JoinError) {
        self.slot.set(Err(error.clone()));
    }
}

impl<C: Call> fmt::Debug for InitCall<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InitCall({})", C::name())
    }
}
