//! Outcomes on their way from a reply to whoever awaits them.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::initializer::PREPARATION;
use super::shared::Shared;
use crate::call::envelope::{Reply, Status, next_outcome};
use crate::call::job::{Job, Outcomes};
use crate::codec::codec;
use crate::error::{ErrorKind, JoinError};
use crate::schedule::WorkerKey;
use crate::sys::memory::Mapping;

/// A result longer than this is decoded on a thread that may block, in bytes.
const LONG_RESULT: usize = 256 * 1024;

/// Where the only outcome of a reply is, if it is in a parcel: its number and length.
pub(super) fn elsewhere(bytes: &[u8]) -> Option<(u64, usize)> {
    let (status, body) = next_outcome(&mut &*bytes)?;
    if status != Status::Elsewhere {
        return None;
    }
    codec::decode::<(u64, u64)>(body)
        .ok()
        .map(|(id, len)| (id, len as usize))
}

/// Gives the job the outcomes in `bytes`.
pub(super) fn deliver(
    shared: &Shared,
    job: &dyn Job,
    head: &Reply,
    bytes: &[u8],
    pid: u32,
    parcel: Option<(&Mapping, usize)>,
    baggage: Vec<OwnedFd>,
) {
    let outcomes = Outcomes {
        rest: bytes,
        count: head.count as usize,
        pid,
        ran: Duration::from_nanos(head.run_nanos),
        parcel,
        baggage: baggage.into(),
    };
    let failed = job.deliver(head.first as usize, outcomes) as u64;
    if head.task != PREPARATION {
        let done = u64::from(head.count).saturating_sub(failed);
        shared.completed.fetch_add(done, Ordering::Relaxed);
        shared.failed.fetch_add(failed, Ordering::Relaxed);
    }
}

/// A result that came in shared memory.
pub(super) struct Delivery {
    pub(super) shared: Arc<Shared>,
    /// `None` if nobody waits for it, or it was delivered.
    pub(super) job: Option<Arc<dyn Job>>,
    pub(super) head: Reply,
    pub(super) bytes: Vec<u8>,
    pub(super) worker: WorkerKey,
    pub(super) pid: u32,
    /// The parcel's number, the length of what is in it, and, if it arrived, its memory.
    pub(super) parcel: (u64, usize, Option<Arc<Mapping>>),
    pub(super) baggage: Vec<OwnedFd>,
}

impl Delivery {
    /// Decodes it here, or on a thread that may block if it is long.
    pub(super) fn dispatch(self) {
        let (_, len, _) = self.parcel;
        if len > LONG_RESULT {
            let runtime = self.shared.runtime.clone();
            runtime.spawn_blocking(move || self.perform());
        } else {
            self.perform();
        }
    }

    fn perform(mut self) {
        let (id, len, memory) = &mut self.parcel;
        let memory = memory.take();
        let arrived = memory.is_some();
        if let Some(job) = self.job.take() {
            let parcel = memory.as_ref().map(|memory| (&**memory, *len));
            let baggage = std::mem::take(&mut self.baggage);
            deliver(
                &self.shared,
                &*job,
                &self.head,
                &self.bytes,
                self.pid,
                parcel,
                baggage,
            );
        }
        drop(memory);
        let (worker, pid, id) = (self.worker, self.pid, *id);
        self.shared
            .with(|core| core.return_parcel(worker, pid, id, arrived));
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
