//! Outcomes on their way from a reply to their job.
//!
//! Runs in the application: on the driver's thread, or on a thread that may block if the result is long. Decoding runs
//! user code, so the core's lock is not held here.

use std::sync::Arc;

use super::exit_call::EXIT_TASK;
use super::findings::FoundReply;
use super::worker_replies::WorkerReplies;
use crate::call::envelope::Reply;
use crate::call::job::{CountOutcomes, Job};
use crate::call::outcomes::{Outcomes, ReplyBody};
use crate::error::{ErrorKind, JoinError};
use crate::pool::decisions::close::LOST_RUNTIME;
use crate::pool::decisions::core::Core;
use crate::pool::shared::PoolShared;
use crate::schedule::{TaskKey, WorkerKey};
use crate::threads;

/// Gives the job of a reply its outcomes, which are in `bytes`. True if the result is in a blob of the worker.
pub(in crate::pool) fn deliver(
    shared: &Arc<PoolShared>,
    found: FoundReply,
    replies: &mut WorkerReplies,
    bytes: &[u8],
) -> bool {
    let count = found.job.as_ref().map_or(found.head.count, |it| it.count);
    let asks_rule = found.job.as_ref().is_some_and(|it| it.asks_rule);
    let job = found.job.map(|it| it.job);
    let head = Reply {
        count,
        ..found.head
    };
    let pid = replies.pid;
    // Also if there is no job: the blob and the descriptors that were sent must be received.
    match replies.reader.body(&head, &bytes[found.outcomes], pid) {
        ReplyBody::Frame(outcomes) => {
            if let Some(job) = job {
                decode(shared, &*job, &head, outcomes, asks_rule);
            }
            false
        }
        ReplyBody::Blob {
            id,
            arrived,
            outcomes,
        } => {
            let delivery = BlobDelivery {
                shared: Arc::clone(shared),
                job,
                head,
                outcomes: Some(outcomes),
                worker: found.worker,
                pid,
                blob: id,
                arrived,
                asks_rule,
            };
            delivery.dispatch();
            true
        }
    }
}

fn decode(
    shared: &Arc<PoolShared>,
    job: &dyn Job,
    head: &Reply,
    outcomes: Outcomes<'_>,
    asks_rule: bool,
) {
    let mut counter = OutcomeCounter {
        shared,
        task: head.task,
        asks_rule,
        again: false,
    };
    job.deliver_counted(head.first as usize, outcomes, &mut counter);
    if counter.again {
        // The error was dropped before the task can run again.
        shared.with(|core| core.on_decided(head.task, true, None));
    }
}

/// Counts outcomes, and asks the pool's rule about failures, before the callers are told.
struct OutcomeCounter<'a> {
    shared: &'a Arc<PoolShared>,
    task: TaskKey,
    asks_rule: bool,
    /// Whether the task runs again.
    again: bool,
}

impl CountOutcomes for OutcomeCounter<'_> {
    fn holds(&mut self, error: &JoinError) -> bool {
        let rule = self.shared.settings.retry_if.as_ref();
        self.again = self.asks_rule && rule.is_some_and(|rule| rule.allows(error));
        self.again
    }

    fn count(&mut self, completed: u64, failed: u64) {
        let task = self.task;
        if task == EXIT_TASK {
            return; // no task
        }
        // A task that was cancelled meanwhile was counted then.
        if self.asks_rule && !self.again {
            let has_ended = |core: &mut Core| !core.on_decided(task, false, None);
            if self.shared.with(has_ended) {
                return;
            }
        }
        self.shared.count_outcomes(completed, failed);
    }
}

/// A result that is in a worker's blob.
struct BlobDelivery {
    shared: Arc<PoolShared>,
    /// `None` if the task was cancelled, or the result was delivered.
    job: Option<Arc<dyn Job>>,
    head: Reply,
    /// `None` once they were decoded.
    outcomes: Option<Outcomes<'static>>,
    worker: WorkerKey,
    pid: u32,
    /// The blob, and whether its memory has arrived here.
    blob: u64,
    arrived: bool,
    /// Whether the pool's rule is asked about an error, and was not asked yet.
    asks_rule: bool,
}

impl BlobDelivery {
    /// Decodes the result here, or on a thread that may block if it is long.
    fn dispatch(self) {
        // The results of exit functions must be there before the pool has ended.
        let may_wait = self.head.task != EXIT_TASK;
        if may_wait && self.outcomes.as_ref().is_some_and(Outcomes::is_long) {
            let runtime = self.shared.background.runtime().clone();
            threads::spawn(Some(runtime), move || self.run());
        } else {
            self.run();
        }
    }

    fn run(mut self) {
        // Decoded or not, the outcomes are dropped before the worker is told that it may fill its blob again.
        if let (Some(outcomes), Some(job)) = (self.outcomes.take(), self.job.take()) {
            let asks_rule = std::mem::take(&mut self.asks_rule);
            decode(&self.shared, &*job, &self.head, outcomes, asks_rule);
        }
        let (worker, pid, id, arrived) = (self.worker, self.pid, self.blob, self.arrived);
        self.shared
            .with(|core| core.return_worker_blob(worker, pid, id, arrived));
    }
}

impl Drop for BlobDelivery {
    /// A runtime that is shutting down drops what its blocking threads have not begun.
    fn drop(&mut self) {
        if let Some(job) = self.job.take() {
            let error = JoinError::new(ErrorKind::Closed, job.name())
                .because(LOST_RUNTIME)
                .in_process(self.pid)
                .after_start(true);
            if self.asks_rule {
                let task = self.head.task;
                (self.shared).with(|core| core.on_decided(task, false, None));
            }
            self.shared.count_outcomes(0, self.head.count.into());
            job.fail(self.head.first as usize, self.head.count as usize, &error);
        }
    }
}
