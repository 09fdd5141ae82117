//! The outcomes of one reply, decoded with the types that the caller knows.
//!
//! Runs in the parent: on the driver's thread, or on a thread that may block if the result is long.
//!
//! Must stay true: a job gets exactly as many outcomes as the reply's head counts. A result that does not decode, or
//! whose `Deserialize` panics, is an outcome too: an error.

use std::any::Any;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::envelope;
use super::envelope::{Reply, Status};
use crate::codec::attachments;
use crate::codec::attachments::ReceivedAttachments;
use crate::codec::codec;
use crate::error::{ErrorKind, JoinError, PanicReport};
use crate::transfer::mapped_blob::MappedBlob;

/// A result longer than this is decoded on a thread that may block, in bytes: copying it takes longer than a task of
/// the runtime should run.
const LONG_RESULT: usize = 256 * 1024;

/// Why a result in shared memory cannot be read.
pub(super) const NOT_ARRIVED: &str = "its shared memory did not come";

/// Where the outcomes of a reply are.
#[derive(Debug)]
pub(crate) enum ReplyBody<'a> {
    /// In the reply's frame, which was copied.
    Frame(Outcomes<'a>),
    /// The only outcome is in the worker's blob `id`. The worker fills the blob again when it is told to, after the
    /// outcome was decoded. If the memory has not `arrived` here, it never will, and the worker must free it.
    Blob {
        id: u64,
        arrived: bool,
        outcomes: Outcomes<'static>,
    },
}

/// The outcomes of one reply that were not decoded yet.
#[derive(Debug)]
pub(crate) struct Outcomes<'a> {
    source: Source<'a>,
    /// How many are left.
    count: usize,
    pid: u32,
    ran: Duration,
    attachments: ReceivedAttachments,
}

/// The bytes of outcomes.
#[derive(Debug)]
pub(super) enum Source<'a> {
    Frame(&'a [u8]),
    /// The blob of the only outcome and the result's length, or why it cannot be read.
    Blob(Result<(Arc<MappedBlob>, usize), String>),
}

impl<'a> Outcomes<'a> {
    /// The outcomes that `head` counts. `pid` is the worker's, `fds` are the reply's attachments.
    #[inline]
    pub(super) fn new(head: &Reply, source: Source<'a>, pid: u32, fds: Vec<OwnedFd>) -> Self {
        Self {
            source,
            count: head.count as usize,
            pid,
            ran: Duration::from_nanos(head.run_nanos),
            attachments: fds.into(),
        }
    }

    /// How many outcomes are left.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The time that all items of the reply took together; zero if the reply was salvaged.
    pub(crate) fn ran(&self) -> Duration {
        self.ran
    }

    /// Whether decoding takes so long that it belongs on a thread that may block.
    pub(crate) fn is_long(&self) -> bool {
        matches!(self.source, Source::Blob(Ok((_, len))) if len > LONG_RESULT)
    }

    /// Gives every outcome of a call of `task` to `take`, also those whose decoding panics.
    #[inline]
    pub(crate) fn for_each<R: DeserializeOwned>(
        mut self,
        task: &'static str,
        mut take: impl FnMut(Result<R, JoinError>),
    ) {
        if self.attachments.is_empty() {
            return self.take_each(task, &mut take);
        }
        let mut attached = std::mem::take(&mut self.attachments);
        attachments::with_received(&mut attached, || self.take_each(task, &mut take));
    }

    fn take_each<R: DeserializeOwned>(
        &mut self,
        task: &'static str,
        take: &mut impl FnMut(Result<R, JoinError>),
    ) {
        loop {
            // One `catch_unwind` for all outcomes and not for each: so it costs nothing per outcome.
            let caught = catch_unwind(AssertUnwindSafe(|| {
                while let Some(outcome) = self.next(task) {
                    take(outcome);
                }
            }));
            match caught {
                Ok(()) => return,
                Err(payload) => take(Err(self.panicked(task, &*payload))),
            }
        }
    }

    /// The next outcome, or `None` after the last. If the type's `Deserialize` panics, so does this; the call after it
    /// gives the next outcome.
    #[inline]
    fn next<R: DeserializeOwned>(&mut self, task: &'static str) -> Option<Result<R, JoinError>> {
        if self.count == 0 {
            return None;
        }
        self.count -= 1;
        let rest = match &mut self.source {
            Source::Frame(rest) => rest,
            Source::Blob(_) => return Some(self.in_blob(task)),
        };
        let Some((status, body)) = envelope::next_outcome(rest) else {
            *rest = &[];
            let why = "its reply was overwritten in the worker's memory";
            return Some(Err(self.error(ErrorKind::Decode, task).because(why)));
        };
        Some(match status {
            Status::Done => codec::decode_unguarded(body).map_err(|why| self.undecoded(task, &why)),
            other => Err(self.failed(other, task, body)),
        })
    }

    fn in_blob<R: DeserializeOwned>(&self, task: &'static str) -> Result<R, JoinError> {
        match &self.source {
            Source::Blob(Ok((blob, len))) => {
                blob.decode(*len).map_err(|why| self.undecoded(task, &why))
            }
            Source::Blob(Err(why)) => Err(self.undecoded(task, why)),
            Source::Frame(_) => Err(self.undecoded(task, NOT_ARRIVED)),
        }
    }

    /// The outcome whose decoding panicked.
    #[cold]
    fn panicked(&self, task: &'static str, payload: &(dyn Any + Send)) -> JoinError {
        self.undecoded(task, &codec::decode_panicked(payload))
    }

    #[cold]
    fn undecoded(&self, task: &'static str, why: &str) -> JoinError {
        self.error(ErrorKind::Decode, task)
            .because(format!("the result: {why}"))
    }

    #[cold]
    fn failed(&self, status: Status, task: &'static str, body: &[u8]) -> JoinError {
        let text = || String::from_utf8_lossy(body).into_owned();
        match status {
            Status::Panicked => match codec::decode::<PanicReport>(body) {
                Ok(report) => self.error(ErrorKind::Panicked, task).with_panic(report),
                Err(why) => self.undecoded(task, &why),
            },
            Status::EncodeFailed => self
                .error(ErrorKind::Encode, task)
                .because(format!("the result: {}", text())),
            Status::DecodeFailed => self
                .error(ErrorKind::Decode, task)
                .because(format!("the arguments: {}", text()))
                .after_start(false),
            Status::Unknown => self
                .error(ErrorKind::Decode, task)
                .because("the worker's program has no such function")
                .after_start(false),
            // The reply's head does not say that there is a blob.
            Status::Done | Status::Blob => self.undecoded(task, NOT_ARRIVED),
        }
    }

    #[cold]
    fn error(&self, kind: ErrorKind, task: &'static str) -> JoinError {
        JoinError::new(kind, task)
            .in_process(self.pid)
            .after_start(true)
    }
}
