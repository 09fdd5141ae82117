//! What workers have replied and the core has not been told: the driver's side of all reply rings.
//!
//! Runs in the application, in the pool's driver. Must stay true: what was read of a worker is found in the order in
//! which the worker wrote it; nothing is read from a worker that wrote nonsense.
//!
//! Never here: the core, and when the driver sleeps.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::delivery::deliver;
use super::findings::{Findings, FoundExit, FoundReply, StartProgress, WorkerChange};
use super::initializer::INIT_TASK;
use super::worker_bell::WorkerBell;
use super::worker_replies::WorkerReplies;
use crate::call::envelope::{Reply, WORKER_RING_BYTES};
use crate::pool::shared::PoolShared;
use crate::schedule::WorkerKey;
use crate::spawn::ChildEnd;
use crate::sys::clock::Moment;

/// Replies read from one worker before the next worker's are read.
const REPLIES_PER_TURN: usize = 64;

/// After so many rings without a reply, the driver looks who rings.
const MANY_RINGS: u32 = 1_000;

/// How many rings without a reply are forgiven for a poll that found replies. A worker may ring once for a reply that
/// was read before the ring came.
const RINGS_PER_REPLY: u32 = 8;

/// The capacity of the buffer for replies that is kept between turns, in bytes.
const MOST_KEPT_BUFFER: usize = 1 << 20;

/// See the module.
#[derive(Default)]
pub(in crate::pool) struct ReplyInbox {
    workers: Vec<Option<WorkerReplies>>,
    pub(in crate::pool) findings: Findings,
    /// The replies in `findings`.
    bytes: Vec<u8>,
    /// How often a doorbell rang and there was no reply, less what was forgiven for replies.
    fruitless: u32,
}

/// Workers.
impl ReplyInbox {
    /// A worker was started.
    pub(in crate::pool) fn add(&mut self, worker: WorkerKey, replies: WorkerReplies) {
        if self.workers.len() <= worker {
            self.workers.resize_with(worker + 1, || None);
        }
        self.workers[worker] = Some(replies);
    }

    /// A worker was started that has these lanes beside its first.
    pub(in crate::pool) fn set_lanes(&mut self, worker: WorkerKey, others: Vec<WorkerKey>) {
        if let Some(replies) = self.workers.get_mut(worker).and_then(Option::as_mut) {
            replies.other_lanes = others;
        }
    }

    pub(in crate::pool) fn on_exited(&mut self, worker: WorkerKey, end: ChildEnd, stderr: String) {
        self.salvage(worker);
        let replies = self.workers.get_mut(worker).and_then(Option::as_mut);
        let others = replies.map(|it| std::mem::take(&mut it.other_lanes));
        let others = others.unwrap_or_default();
        others.iter().for_each(|&lane| self.salvage(lane));
        let mut was_ready = false;
        for lane in std::iter::once(worker).chain(others.iter().copied()) {
            let replies = self.workers.get_mut(lane).and_then(Option::as_mut);
            was_ready |= replies.is_some_and(|it| it.reader.was_ready());
        }
        let replies = self.workers.get(worker).and_then(Option::as_ref);
        self.findings.exits.push(FoundExit {
            worker,
            end,
            stderr,
            progress: replies.map_or(StartProgress::Process, |it| it.progress(was_ready)),
            others,
        });
    }

    /// Drops what is left of workers that have exited, once their outcomes were delivered.
    pub(in crate::pool) fn forget_exited(&mut self) {
        for exit in self.findings.exits.drain(..) {
            for lane in std::iter::once(exit.worker).chain(exit.others) {
                if let Some(replies) = self.workers.get_mut(lane) {
                    *replies = None;
                }
            }
        }
    }
}

/// Sleep.
impl ReplyInbox {
    /// Has workers ring when they reply from now on. False if there is something to read or to report already.
    pub(in crate::pool) fn announce_sleep(&mut self) -> bool {
        self.workers.iter_mut().flatten().all(|replies| {
            // What it wrote beside a reply is reported by the next poll.
            let is_reported = replies.reported || replies.reader.nonsense().is_none();
            is_reported && (replies.reported || replies.reader.announce_sleep())
        })
    }

    /// Withdraws the announcement.
    pub(in crate::pool) fn awake(&self) {
        for replies in self.workers.iter().flatten() {
            replies.reader.awake();
        }
    }

    /// Ready if a doorbell has rung since the last poll.
    ///
    /// # Errors
    ///
    /// The runtime is shutting down.
    pub(in crate::pool) fn poll_bells(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut rung = Poll::Pending;
        // All of them: each must know whom to wake.
        for replies in self.workers.iter_mut().flatten() {
            let polled = replies.bell.as_mut().map(|bell| bell.poll(cx));
            if let Some(Poll::Ready(polled)) = polled {
                rung = Poll::Ready(polled);
            }
        }
        rung
    }

    /// A doorbell was rung while the driver fell asleep.
    pub(in crate::pool) fn on_fruitless_ring(&mut self) {
        self.fruitless += 1;
    }

    /// Finds workers that ring without a reply again and again, which would keep the driver running.
    pub(in crate::pool) fn find_idle_ringers(&mut self, rung: bool, replied: bool) {
        self.fruitless = match (rung, replied) {
            (true, false) => self.fruitless + 1,
            (_, true) => self.fruitless.saturating_sub(RINGS_PER_REPLY),
            (false, false) => self.fruitless,
        };
        if self.fruitless < MANY_RINGS {
            return;
        }
        self.fruitless -= 1;
        for (worker, replies) in self.workers.iter_mut().enumerate() {
            let Some(replies) = replies else {
                continue;
            };
            if replies.bell.as_mut().is_some_and(WorkerBell::take_rung) {
                replies.on_idle_ring();
                report_nonsense(&mut self.findings, worker, replies);
            }
        }
    }
}

/// Replies.
impl ReplyInbox {
    /// Reads what the workers have replied. True if there was anything.
    pub(in crate::pool) fn read_all(&mut self) -> bool {
        let mut any = false;
        for worker in 0..self.workers.len() {
            any |= self.read(worker);
        }
        any
    }

    /// Reads up to [`REPLIES_PER_TURN`] replies of one worker. True if there was any.
    fn read(&mut self, worker: WorkerKey) -> bool {
        let Some(replies) = self.workers.get_mut(worker).and_then(Option::as_mut) else {
            return false;
        };
        for count in 0..REPLIES_PER_TURN {
            let from = self.bytes.len();
            let Some(head) = replies.reader.next(&mut self.bytes) else {
                return report_nonsense(&mut self.findings, worker, replies) || count > 0;
            };
            let findings = &mut self.findings;
            add_reply(findings, worker, replies, head, &self.bytes[from..], from);
        }
        true
    }

    /// Reads all that a worker has committed, and then what it has published of the next reply. In this order: what is
    /// published can be found only behind the last reply that was read.
    pub(in crate::pool) fn salvage(&mut self, worker: WorkerKey) {
        // A process that has left the worker's group may still write: no more is read than a ring holds.
        let most = self.bytes.len() + WORKER_RING_BYTES;
        while self.bytes.len() < most && self.read(worker) {}
        let Some(replies) = self.workers.get_mut(worker).and_then(Option::as_mut) else {
            return;
        };
        let from = self.bytes.len();
        let findings = &mut self.findings;
        match replies.reader.salvage(&mut self.bytes) {
            Some(head) => add_reply(findings, worker, replies, head, &self.bytes[from..], from),
            None => drop(report_nonsense(findings, worker, replies)),
        }
    }

    /// Finds workers that have finished a task and have more than `limit` bytes of memory.
    pub(in crate::pool) fn find_overgrown(&mut self, limit: u64) {
        let now = Moment::now();
        for found in self.findings.replies.iter().filter(|it| it.head.last) {
            let lane = self.workers.get(found.worker).and_then(Option::as_ref);
            let first = lane.and_then(|it| it.first_lane).unwrap_or(found.worker);
            let replies = self.workers.get_mut(first).and_then(Option::as_mut);
            let Some(replies) = replies else {
                continue;
            };
            let pid = replies.pid;
            let memory = replies.memory.as_mut();
            if memory.is_some_and(|memory| memory.is_over(pid, limit, now)) {
                self.findings.overgrown.push(found.worker);
            }
        }
    }

    /// Gives jobs the outcomes that were found. True if one of them is in a blob of its worker.
    pub(in crate::pool) fn deliver(&mut self, shared: &Arc<PoolShared>) -> bool {
        let mut has_blob = false;
        for found in self.findings.replies.drain(..) {
            let replies = self.workers.get_mut(found.worker).and_then(Option::as_mut);
            if let Some(replies) = replies {
                has_blob |= deliver(shared, found, replies, &self.bytes);
            }
        }
        self.bytes.clear();
        self.bytes.shrink_to(MOST_KEPT_BUFFER);
        has_blob
    }

    /// Receives all control messages of workers that have arrived.
    pub(in crate::pool) fn receive_all(&mut self) {
        for replies in self.workers.iter_mut().flatten() {
            replies.reader.receive_all();
        }
    }
}

/// Reports once that a worker wrote nonsense. True if it did.
fn report_nonsense(
    findings: &mut Findings,
    worker: WorkerKey,
    replies: &mut WorkerReplies,
) -> bool {
    let nonsense = replies.reader.nonsense().filter(|_| !replies.reported);
    if let Some(nonsense) = nonsense {
        replies.reported = true;
        findings
            .changes
            .push(WorkerChange::Distrusted { worker, nonsense });
    }
    nonsense.is_some()
}

/// Adds a reply, whose head and outcomes are at `from` in the buffer. The reply of an initializer is decoded at
/// once: the core must know how it went.
fn add_reply(
    findings: &mut Findings,
    worker: WorkerKey,
    replies: &mut WorkerReplies,
    head: Reply,
    reply: &[u8],
    from: usize,
) {
    if head.task != INIT_TASK {
        let outcomes = from + Reply::BYTES..from + reply.len();
        findings.replies.push(FoundReply {
            worker,
            head,
            outcomes,
            job: None,
        });
    } else if let Some(result) = replies.on_init_reply(&head, &reply[Reply::BYTES..]) {
        findings.changes.push(WorkerChange::Initialized {
            worker,
            result,
            packed: replies.take_packed(),
        });
    }
}
