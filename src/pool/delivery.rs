//! Outcomes on their way from a reply to whoever awaits them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::initializer::PREPARATION;
use super::shared::Shared;
use crate::call::envelope::Reply;
use crate::call::job::Job;
use crate::call::outcomes::Outcomes;
use crate::error::{ErrorKind, JoinError};
use crate::schedule::WorkerKey;

/// Gives the job the outcomes of the reply `head`.
pub(super) fn deliver(shared: &Shared, job: &dyn Job, head: &Reply, outcomes: Outcomes<'_>) {
    let failed = job.deliver(head.first as usize, outcomes) as u64;
    if head.task != PREPARATION {
        let done = u64::from(head.count).saturating_sub(failed);
        shared.completed.fetch_add(done, Ordering::Relaxed);
        shared.failed.fetch_add(failed, Ordering::Relaxed);
    }
}

/// A result that came in a worker's blob.
pub(super) struct Delivery {
    pub(super) shared: Arc<Shared>,
    /// `None` if the task was cancelled, or the result was delivered.
    pub(super) job: Option<Arc<dyn Job>>,
    pub(super) head: Reply,
    /// `None` once it was decoded.
    pub(super) outcomes: Option<Outcomes<'static>>,
    pub(super) worker: WorkerKey,
    pub(super) pid: u32,
    /// The blob, and whether its memory arrived here.
    pub(super) blob: u64,
    pub(super) arrived: bool,
}

impl Delivery {
    /// Decodes the result here, or on a thread that may block if it is long.
    pub(super) fn dispatch(self) {
        if self.outcomes.as_ref().is_some_and(Outcomes::is_long) {
            let runtime = self.shared.runtime.clone();
            runtime.spawn_blocking(move || self.perform());
        } else {
            self.perform();
        }
    }

    fn perform(mut self) {
        // Decoded or not, the outcomes are gone before the worker is told that it may fill its blob again.
        if let (Some(outcomes), Some(job)) = (self.outcomes.take(), self.job.take()) {
            deliver(&self.shared, &*job, &self.head, outcomes);
        }
        let (worker, pid, id, arrived) = (self.worker, self.pid, self.blob, self.arrived);
        self.shared
            .with(|core| core.return_blob(worker, pid, id, arrived));
    }
}

impl Drop for Delivery {
    /// A runtime that is shutting down drops what it was to decode.
    fn drop(&mut self) {
        if let Some(job) = self.job.take() {
            let why = "the runtime in which the pool lived was shut down";
            let error = JoinError::new(ErrorKind::Closed, job.name())
                .because(why)
                .in_process(self.pid)
                .after_start(true);
            job.fail(self.head.first as usize, self.head.count as usize, &error);
        }
    }
}
