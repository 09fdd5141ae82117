//! Performs what the core decided, after its lock is released.
//!
//! Runs in the application, on the thread that changed the core. Must stay true: the lock is not held here, because an
//! effect may run user code: a `Drop`, a `Waker`.

use std::sync::Arc;

use super::events::DriverEvent;
use super::start_worker;
use crate::call::encoded_items::{EncodedItems, NotEncoded};
use crate::call::job::Job;
use crate::error::{ErrorKind, JoinError};
use crate::pool::decisions::core::{Core, Effect, Failure};
use crate::pool::decisions::exit_stage::ExitArguments;
use crate::pool::shared::PoolShared;
use crate::sys::scratch;
use crate::threads;
use crate::transfer::blob::{BlobStore, PackedBlob};

impl PoolShared {
    /// Changes what the pool knows, sends waiting tasks to workers, and performs what was decided.
    pub(in crate::pool) fn with<T>(self: &Arc<Self>, change: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.lock();
        let out = change(&mut core);
        core.pump();
        if self.driver_is_awake() {
            core.forget_run_by();
        } else if core
            .take_run_by()
            .is_some_and(|at| self.driver_sleeps_past(at))
        {
            core.effects.push(Effect::WakeDriver);
        }
        let (mut effects, failures) = core.take_decisions();
        drop(core);
        self.perform(&mut effects);
        fail(failures);
        out
    }

    /// Performs effects, in order.
    pub(in crate::pool) fn perform(self: &Arc<Self>, effects: &mut Vec<Effect>) {
        for effect in effects.drain(..) {
            self.perform_one(effect);
        }
    }

    fn perform_one(self: &Arc<Self>, effect: Effect) {
        match effect {
            Effect::Drop(job) => drop(job),
            Effect::ForgetArguments(job) => job.forget_arguments(),
            Effect::Lend(job, worker, pid) => job.lend(worker.0, pid),
            Effect::Skip(job) => job.skip(),
            Effect::RemoveScratch(path) => {
                let runtime = self.background.runtime().clone();
                threads::spawn(Some(runtime), move || scratch::remove(&path));
            }
            Effect::ReturnBlob(packed) => self.return_blob(packed),
            Effect::Launch(worker, spec, unwanted, proves) => {
                start_worker::spawn_start(self, worker, spec, unwanted, proves);
            }
            Effect::Encode(task, job) => {
                let encoded = EncodedItems::of(&*job);
                drop(job);
                self.with(|core| core.on_encoded(task, encoded));
            }
            Effect::Pack(task, worker, store, job) => {
                let shared = Arc::clone(self);
                threads::spawn(Some(self.background.runtime().clone()), move || {
                    let packed = job.pack(&store);
                    drop(job);
                    shared.with(|core| core.on_packed(task, worker, packed));
                });
            }
            Effect::EncodeExit(serial, store, job) => self.encode_exit(serial, store, job),
            Effect::Decide(task, error) => {
                let again = self.settings.retry_if.as_ref();
                let again = again.is_some_and(|rule| rule.allows(&error));
                self.with(|core| core.on_decided(task, again, Some(error)));
            }
            Effect::WakeTask(waker) => waker.wake(),
            Effect::Tell(event) => self.event_log.tell(*event),
            Effect::WakeDriver => self.tell_driver(DriverEvent::Wake),
        }
    }

    fn encode_exit(self: &Arc<Self>, serial: u64, store: BlobStore, job: Arc<dyn Job>) {
        let shared = Arc::clone(self);
        let send = move |job: &dyn Job, arguments: Result<ExitArguments, String>| {
            let arguments = arguments.map_err(|why| {
                let error = JoinError::new(ErrorKind::Encode, job.name());
                job.fail(0, 1, &error.because(format!("the arguments: {why}")));
            });
            shared.with(|core| core.on_exit_encoded(serial, job, arguments.ok()));
        };
        match EncodedItems::of(&*job) {
            Ok(items) => send(&*job, Ok(ExitArguments::Items(items))),
            Err(NotEncoded::Refused(why)) => send(&*job, Err(why)),
            Err(NotEncoded::TooLarge(_)) => {
                threads::spawn(Some(self.background.runtime().clone()), move || {
                    send(&*job, job.pack(&store).map(ExitArguments::Blob));
                });
            }
        }
    }

    /// Gives back the memory of arguments that were decoded, or are not sent.
    pub(in crate::pool) fn return_blob(self: &Arc<Self>, packed: PackedBlob) {
        let store = Arc::clone(&packed.store);
        if let Some(id) = packed.put_back() {
            self.with(|core| core.forget_blob(&store, id));
        }
        // The driver frees idle memory after a while.
        self.tell_driver(DriverEvent::Wake);
    }
}

/// Gives items their errors.
pub(in crate::pool) fn fail(failures: Vec<Failure>) {
    for it in failures {
        it.job.fail(it.first, it.count, &it.error);
    }
}
