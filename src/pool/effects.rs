//! Performs what the core decided, after its lock was released.

use std::sync::Arc;

use super::core::{Core, Effect};
use super::events::Event;
use super::shared::Shared;
use super::start_worker;
use crate::transfer::blob::PackedBlob;

impl Shared {
    /// Lets `f` change what the pool knows, then does what follows from it.
    pub(super) fn with<T>(self: &Arc<Self>, f: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.lock();
        let out = f(&mut core);
        core.pump();
        if core
            .take_run_by()
            .is_some_and(|at| self.driver_sleeps_past(at))
        {
            core.effects.push(Effect::WakeDriver);
        }
        let effects = std::mem::take(&mut core.effects);
        drop(core);
        for effect in effects {
            self.perform(effect);
        }
        out
    }

    fn perform(self: &Arc<Self>, effect: Effect) {
        match effect {
            Effect::Fail {
                job,
                first,
                count,
                error,
            } => job.fail(first, count, &error),
            Effect::Drop(job) => drop(job),
            Effect::DropArguments(job) => job.forget_arguments(),
            Effect::ReturnBlob(packed) => self.unpack(packed),
            Effect::Launch(worker, spec, unwanted) => {
                start_worker::launch_worker(self, worker, spec, unwanted);
            }
            Effect::Pack(task, job) => {
                let shared = Arc::clone(self);
                self.runtime.spawn_blocking(move || {
                    let packed = job.pack(&shared.blobs);
                    drop(job);
                    shared.with(|core| core.on_packed(task, packed));
                });
            }
            // Nobody listens only when the driver is gone, and then nothing needs doing.
            Effect::WakeDriver => drop(self.news.send(Event::Look)),
        }
    }

    pub(super) fn unpack(self: &Arc<Self>, packed: PackedBlob) {
        let given_up = self.store().put_back(packed.blob);
        if let Some(id) = given_up {
            self.with(|core| core.forget_blobs(&[id]));
        }
        // The driver gives what is kept back to the kernel when the pool has been idle for a while.
        drop(self.news.send(Event::Look));
    }
}
