//! What the driver has of one worker: its replies, and its initializers until they have returned.

use std::collections::VecDeque;
use std::sync::Arc;

use super::findings::StartProgress;
use super::initializer::{HANDSHAKE, InitJob};
use super::memory_watch::MemoryWatch;
use super::worker_bell::WorkerBell;
use crate::call::ReplyReader;
use crate::call::envelope::Reply;
use crate::call::outcomes::ReplyBody;
use crate::error::{ErrorKind, JoinError};
use crate::schedule::WorkerKey;
use crate::transfer::blob::PackedBlob;
use crate::transfer::nonsense::Nonsense;

/// A worker that was found so often to have rung without a reply rings on purpose.
const MOST_IDLE_RINGS: u32 = 200;

/// See the module.
pub(in crate::pool) struct WorkerReplies {
    pub(in crate::pool) reader: ReplyReader,
    /// That of all lanes of the worker. The other lanes have none of their own.
    pub(in crate::pool) bell: Option<WorkerBell>,
    pub(in crate::pool) pid: u32,
    /// Initializers that have not returned, in the order of their requests.
    init: VecDeque<Arc<dyn InitJob>>,
    /// Arguments of initializers, held until all have returned.
    packed: Vec<PackedBlob>,
    /// How often it was found to have rung without a reply.
    idle_rings: u32,
    /// If the pool limits the memory of workers.
    pub(in crate::pool) memory: Option<MemoryWatch>,
    /// Whether the core knows that the worker wrote nonsense.
    pub(in crate::pool) reported: bool,
    /// The first lane of its worker, if it is another.
    pub(in crate::pool) first_lane: Option<WorkerKey>,
    /// The other lanes of a first lane.
    pub(in crate::pool) other_lanes: Vec<WorkerKey>,
}

impl WorkerReplies {
    pub(in crate::pool) fn new(
        reader: ReplyReader,
        bell: Option<WorkerBell>,
        pid: u32,
        init: Vec<Arc<dyn InitJob>>,
        packed: Vec<PackedBlob>,
    ) -> Self {
        Self {
            reader,
            bell,
            pid,
            init: init.into(),
            packed,
            idle_rings: 0,
            memory: None,
            reported: false,
            first_lane: None,
            other_lanes: Vec::new(),
        }
    }

    /// The replies of a lane beside the `first` of its worker.
    pub(in crate::pool) fn of_lane(first: WorkerKey, reader: ReplyReader, pid: u32) -> Self {
        let mut replies = Self::new(reader, None, pid, Vec::new(), Vec::new());
        replies.first_lane = Some(first);
        replies
    }

    /// How far its start has come. `is_ready` says whether it has announced that it takes requests.
    pub(in crate::pool) fn progress(&self, is_ready: bool) -> StartProgress {
        match self.init.front() {
            _ if !is_ready => StartProgress::Process,
            None => StartProgress::Done,
            Some(job) if job.kind() == HANDSHAKE => StartProgress::Process,
            Some(job) => StartProgress::Initializer(format!("{} (`{}`)", job.kind(), job.name())),
        }
    }

    /// Takes the reply of an initializer. Returns how the start of the worker went, once that is known.
    pub(in crate::pool) fn on_init_reply(
        &mut self,
        head: &Reply,
        bytes: &[u8],
    ) -> Option<Result<(), JoinError>> {
        let Some(job) = self.init.front().cloned() else {
            self.reader.distrust(Nonsense(
                "it replied as an initializer that it does not run",
            ));
            return None;
        };
        if head.first != 0 || head.count > 1 {
            self.reader
                .distrust(Nonsense("an initializer has more than one outcome"));
            return None;
        }
        let outcomes = match self.reader.body(head, bytes, self.pid) {
            ReplyBody::Frame(outcomes) | ReplyBody::Blob { outcomes, .. } => outcomes,
        };
        job.deliver(head.first as usize, outcomes);
        let result = self.init_result(&*job)?;
        self.init.pop_front();
        if result.is_err() {
            self.init.clear();
        }
        self.init.is_empty().then_some(result)
    }

    /// The worker has rung its doorbell, and there is no reply: neither of it nor of another worker.
    pub(in crate::pool) fn on_idle_ring(&mut self) {
        self.idle_rings += 1;
        if self.idle_rings > MOST_IDLE_RINGS {
            self.reader
                .distrust(Nonsense("it rings its doorbell without end"));
        }
    }

    /// Takes the arguments of initializers, all of which have returned.
    pub(in crate::pool) fn take_packed(&mut self) -> Vec<PackedBlob> {
        std::mem::take(&mut self.packed)
    }

    fn init_result(&self, job: &dyn InitJob) -> Option<Result<(), JoinError>> {
        let failure = match job.outcome()? {
            Ok(Ok(())) => return Some(Ok(())),
            Ok(Err(why)) => spawn_error(self.pid).because(why),
            Err(error) => {
                let failure = spawn_error(self.pid).because(format!("{}: {error}", job.kind()));
                match error.panic() {
                    Some(report) => failure.with_panic(report.clone()),
                    None => failure,
                }
            }
        };
        Some(Err(failure))
    }
}

fn spawn_error(pid: u32) -> JoinError {
    JoinError::new(ErrorKind::Spawn, "procession::worker").in_process(pid)
}
