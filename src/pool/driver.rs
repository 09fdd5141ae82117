//! The one task of a pool that waits: for replies, for the exit of workers, for time to pass.
//!
//! A poll reads all reply rings, reports what it has found to the core under one lock (`tick`), and only then decodes
//! outcomes and wakes callers, so that workers have their next tasks before results are looked at. After anything has
//! happened it yields and polls again before it sleeps: while replies stream in, no worker rings the doorbell.
//!
//! Runs in the application, on the runtime in which the pool was built, or the crate's own (`background`). Must stay true: the driver sleeps only if every
//! reply ring was empty after it announced its sleep, and the alarm was set under the core's lock. One poll takes the
//! lock once, except to free idle memory, every few seconds at most.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::core::{Effect, Failure};
use super::delivery::deliver;
use super::effects;
use super::events::{Event, StartedWorker};
use super::findings::{Findings, FoundExit, FoundReply, WorkerChange};
use super::initializer::INIT_TASK;
use super::shared::Shared;
use super::trim::Trim;
use super::worker_replies::WorkerReplies;
use super::worker_state::WorkerIo;
use crate::call::envelope::{Reply, WORKER_RING_BYTES};
use crate::error::{ErrorKind, JoinError};
use crate::own_runtime::Timer;
use crate::schedule::WorkerKey;
use crate::spawn::{ChildEnd, Launched};
use crate::sys::clock::Moment;
use crate::sys::reactor::Watched;

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
pub(super) struct Driver {
    shared: Arc<Shared>,
    doorbells: Watched,
    /// How often a doorbell rang and there was no reply, less what was forgiven for replies.
    fruitless: u32,
    events: mpsc::UnboundedReceiver<Event>,
    workers: Vec<Option<WorkerReplies>>,
    findings: Findings,
    /// The replies in `findings`.
    bytes: Vec<u8>,
    timer: Pin<Box<Timer>>,
    /// When the timer fires.
    alarm: Option<Moment>,
    trim: Trim,
    /// Dropped with the driver, which resolves [`Shared::ended`].
    _ended: oneshot::Sender<()>,
}

/// What the core decided in one tick.
struct Turn {
    effects: Vec<Effect>,
    failures: Vec<Failure>,
    /// Workers whose outcomes must be salvaged before the next tick.
    slow: Vec<WorkerKey>,
    /// Whether idle memory must be freed.
    trim: bool,
    over: bool,
    /// Whether the driver may sleep, and until when at most.
    sleep: bool,
    alarm: Option<Moment>,
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        doorbells: Watched,
        events: mpsc::UnboundedReceiver<Event>,
        ended: oneshot::Sender<()>,
    ) -> Self {
        Self {
            shared,
            doorbells,
            fruitless: 0,
            events,
            workers: Vec::new(),
            findings: Findings::default(),
            bytes: Vec::new(),
            timer: Box::pin(Timer::after(Duration::ZERO)),
            alarm: None,
            trim: Trim::new(),
            _ended: ended,
        }
    }

    /// One poll. True if the pool is over.
    fn run(&mut self, cx: &mut Context<'_>) -> bool {
        let rung = self.wake_up(cx);
        // Outcomes that were salvaged after the last tick.
        let salvaged = !self.findings.replies.is_empty();
        let told = self.take_events(cx);
        let replied = self.read_all();
        self.find_idle_ringers(rung, replied);
        let busy = salvaged || told || replied;
        let turn = self.turn(busy);
        self.shared.perform(turn.effects);
        self.deliver();
        // After the outcomes of items that ran before the failed ones.
        effects::fail(turn.failures);
        if turn.over {
            return true;
        }
        self.forget_exited();
        if turn.trim {
            self.free_idle_memory();
        }
        for worker in turn.slow {
            self.salvage(worker);
        }
        if !turn.sleep || !self.fall_asleep(cx, turn.alarm) {
            // Other tasks of the runtime first, then another poll.
            cx.waker().wake_by_ref();
        }
        false
    }

    /// Withdraws what was announced for the sleep. True if a doorbell was rung.
    fn wake_up(&mut self, cx: &mut Context<'_>) -> bool {
        self.shared.driver_wakes();
        for replies in self.workers.iter().flatten() {
            replies.reader.awake();
        }
        // Clears the edge before the rings are read: a ring of a doorbell from now on is another edge. An error says
        // that the runtime is shutting down, and drops this task.
        self.doorbells.poll_edge(cx).is_ready()
    }

    /// Lets the core tick, under one lock.
    fn turn(&mut self, busy: bool) -> Turn {
        // An alarm that is not needed any more stays set. The next task, which tends to be of the same kind, finds it
        // early enough, and need not wake the driver to set another.
        let set = self.alarm.filter(|_| !self.timer.is_elapsed());
        let mut core = self.shared.lock();
        let slow = core.tick(&mut self.findings);
        // This turn checks everything.
        core.take_run_by();
        let idle = core.records.is_empty();
        let kept = idle && core.has_free_blobs();
        let trim = self.trim.is_due(idle, kept, core.now);
        let sleep = !busy && slow.is_empty() && !trim;
        let alarm = set.into_iter().chain(self.trim.at()).chain(core.next_run());
        let alarm = alarm.min().filter(|_| sleep);
        if sleep {
            self.shared.driver_sleeps(alarm);
        }
        let (effects, failures) = core.take_decisions();
        Turn {
            effects,
            failures,
            slow,
            trim,
            over: core.is_over(),
            sleep,
            alarm,
        }
    }

    /// Arranges to be woken. False if there is something to do already.
    fn fall_asleep(&mut self, cx: &mut Context<'_>, alarm: Option<Moment>) -> bool {
        for replies in self.workers.iter_mut().flatten() {
            // What it wrote in `body` is reported by the next poll.
            let unreported = replies.reader.nonsense().is_some() && !replies.reported;
            if unreported || !replies.reported && !replies.reader.announce_sleep() {
                return false;
            }
        }
        if let Poll::Ready(rung) = self.doorbells.poll_edge(cx) {
            self.fruitless += 1;
            return rung.is_err();
        }
        let set = self.alarm.filter(|_| !self.timer.is_elapsed());
        self.alarm = alarm;
        let Some(alarm) = alarm else {
            return true;
        };
        if Some(alarm) != set {
            let wait = alarm.since(Moment::now());
            self.timer.as_mut().reset(wait);
        }
        // Also if it was set before: a poll that has exhausted the task's budget registers no waker.
        self.timer.as_mut().poll(cx).is_pending()
    }
}

/// Events.
impl Driver {
    /// Takes what the driver was told. True if that was more than to wake.
    fn take_events(&mut self, cx: &mut Context<'_>) -> bool {
        let mut told = false;
        while let Poll::Ready(Some(event)) = self.events.poll_recv(cx) {
            told |= !matches!(event, Event::Wake);
            self.on_event(event);
        }
        told
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Wake => {}
            Event::Started(worker, Ok(started)) => self.on_started(worker, *started),
            Event::Started(worker, Err(error)) => self.on_start_failed(worker, &error),
            Event::Exited(worker, end) => self.on_exited(worker, end),
        }
    }

    fn on_started(&mut self, worker: WorkerKey, started: StartedWorker) {
        let Launched {
            requests,
            replies,
            guard,
            pidfd,
            ties,
            parent_death,
            ..
        } = started.launched;
        let pidfd = match Watched::new(pidfd) {
            Ok(pidfd) => pidfd,
            Err(error) => return self.on_start_failed(worker, &error),
        };
        let signal_handle = guard.signal_handle();
        let has_init = !started.init.is_empty();
        if self.workers.len() <= worker {
            self.workers.resize_with(worker + 1, || None);
        }
        let pid = signal_handle.pid();
        let mut replies = replies;
        replies.limit_results(self.shared.settings.result_limit);
        let replies = WorkerReplies::new(replies, pid, started.init, started.packed);
        self.workers[worker] = Some(replies);
        let events = self.shared.events.clone();
        self.shared.background.spawn(async move {
            let end = guard.wait(pidfd, ties).await.unwrap_or_default();
            drop(parent_death);
            // It fails only if the driver was dropped.
            let _ = events.send(Event::Exited(worker, end));
        });
        let io = WorkerIo {
            requests,
            signal_handle,
        };
        self.findings.changes.push(WorkerChange::Started {
            worker,
            io,
            has_init,
        });
    }

    fn on_start_failed(&mut self, worker: WorkerKey, error: &std::io::Error) {
        let cause =
            JoinError::new(ErrorKind::Spawn, "procession::worker").because(error.to_string());
        self.findings
            .changes
            .push(WorkerChange::StartFailed { worker, cause });
    }

    fn on_exited(&mut self, worker: WorkerKey, end: ChildEnd) {
        self.salvage(worker);
        let mut replies = self.workers.get_mut(worker).and_then(Option::as_mut);
        let init = replies.as_ref().and_then(|it| it.init_name());
        self.findings.exits.push(FoundExit {
            worker,
            end,
            was_ready: replies.as_mut().is_some_and(|it| it.reader.was_ready()),
            init,
        });
    }

    /// Drops what is left of workers that have exited, once their outcomes were delivered.
    fn forget_exited(&mut self) {
        for exit in self.findings.exits.drain(..) {
            if let Some(replies) = self.workers.get_mut(exit.worker) {
                *replies = None;
            }
        }
    }
}

/// Doorbells.
impl Driver {
    /// Finds workers that ring without a reply again and again, which would keep the driver running.
    fn find_idle_ringers(&mut self, rung: bool, replied: bool) {
        self.fruitless = match (rung, replied) {
            (true, false) => self.fruitless + 1,
            (_, true) => self.fruitless.saturating_sub(RINGS_PER_REPLY),
            (false, false) => self.fruitless,
        };
        if self.fruitless < MANY_RINGS {
            return;
        }
        self.fruitless -= 1;
        for worker in self.shared.doorbells.take_rung::<16>() {
            let replies = self.workers.get_mut(worker as WorkerKey);
            if let Some(replies) = replies.and_then(Option::as_mut) {
                replies.on_idle_ring();
                report_nonsense(&mut self.findings, worker as WorkerKey, replies);
            }
        }
    }
}

/// Replies.
impl Driver {
    /// Reads what the workers have replied. True if there was anything.
    fn read_all(&mut self) -> bool {
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
                return count > 0 || report_nonsense(&mut self.findings, worker, replies);
            };
            let findings = &mut self.findings;
            add_reply(findings, worker, replies, head, &self.bytes[from..], from);
        }
        true
    }

    /// Reads all that a worker has committed, and then what it has published of the next reply. In this order: what is
    /// published can be found only behind the last reply that was read.
    fn salvage(&mut self, worker: WorkerKey) {
        // A process that has left the worker's group may still write: no more is read than a ring holds.
        let most = self.bytes.len() + WORKER_RING_BYTES;
        while self.bytes.len() < most && self.read(worker) {}
        let Some(replies) = self.workers.get_mut(worker).and_then(Option::as_mut) else {
            return;
        };
        let from = self.bytes.len();
        if let Some(head) = replies.reader.salvage(&mut self.bytes) {
            let findings = &mut self.findings;
            add_reply(findings, worker, replies, head, &self.bytes[from..], from);
        }
    }

    /// Gives jobs the outcomes that were found.
    fn deliver(&mut self) {
        for found in self.findings.replies.drain(..) {
            let replies = self.workers.get_mut(found.worker).and_then(Option::as_mut);
            let Some(replies) = replies else {
                continue;
            };
            if deliver(&self.shared, found, replies, &self.bytes) {
                self.trim.on_worker_blob();
            }
        }
        self.bytes.clear();
        self.bytes.shrink_to(MOST_KEPT_BUFFER);
    }

    /// Gives memory for large values back to the kernel.
    fn free_idle_memory(&mut self) {
        for replies in self.workers.iter_mut().flatten() {
            replies.reader.receive_all();
        }
        let tell = self.trim.on_trim(Moment::now());
        self.shared.with(|core| {
            core.trim_blobs();
            if tell {
                core.trim_workers();
            }
        });
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.run(cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Drop for Driver {
    /// The pool is over, or the runtime is. No task will have an outcome after this.
    fn drop(&mut self) {
        self.shared.with(|core| {
            core.lose_driver();
            core.workers.clear();
        });
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

/// Adds a reply, whose head and outcomes are at `from` in the driver's buffer. The reply of an initializer is decoded at
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
