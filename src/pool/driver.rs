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
use std::process::ExitStatus;
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
use crate::call::envelope::Reply;
use crate::error::{ErrorKind, JoinError};
use crate::own_runtime::Timer;
use crate::schedule::WorkerKey;
use crate::spawn::Launched;
use crate::sys::clock::Moment;
use crate::sys::reactor::Watched;

/// Replies read from one worker before the next worker's are read.
const REPLIES_PER_TURN: usize = 64;

/// See the module.
pub(super) struct Driver {
    shared: Arc<Shared>,
    doorbell: Watched,
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
        doorbell: Watched,
        events: mpsc::UnboundedReceiver<Event>,
        ended: oneshot::Sender<()>,
    ) -> Self {
        Self {
            shared,
            doorbell,
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
        self.wake_up(cx);
        // Outcomes that were salvaged after the last tick.
        let salvaged = !self.findings.replies.is_empty();
        let told = self.take_events(cx);
        let replied = self.read_all();
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

    /// Withdraws what was announced for the sleep.
    fn wake_up(&mut self, cx: &mut Context<'_>) {
        self.shared.driver_wakes();
        for replies in self.workers.iter().flatten() {
            replies.reader.awake();
        }
        // Clears the edge before the rings are read: a ring of the doorbell from now on is another edge. An error says
        // that the runtime is shutting down, and drops this task.
        let _ = self.doorbell.poll_edge(cx);
    }

    /// Lets the core tick, under one lock.
    fn turn(&mut self, busy: bool) -> Turn {
        let kept = self.shared.blob_pool().has_free();
        // An alarm that is not needed any more stays set. The next task, which tends to be of the same kind, finds it
        // early enough, and need not wake the driver to set another.
        let set = self.alarm.filter(|_| !self.timer.is_elapsed());
        let mut core = self.shared.lock();
        let slow = core.tick(&mut self.findings);
        // This turn checks everything.
        core.take_run_by();
        let trim = self.trim.is_due(core.records.is_empty(), kept, core.now);
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
            if !replies.reader.announce_sleep() {
                return false;
            }
        }
        if let Poll::Ready(rung) = self.doorbell.poll_edge(cx) {
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
            Event::Exited(worker, status) => self.on_exited(worker, status),
        }
    }

    fn on_started(&mut self, worker: WorkerKey, started: StartedWorker) {
        let Launched {
            requests,
            replies,
            guard,
            pidfd,
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
        let replies = WorkerReplies::new(replies, pid, started.init, started.packed);
        self.workers[worker] = Some(replies);
        let events = self.shared.events.clone();
        self.shared.background.spawn(async move {
            let status = guard.wait(pidfd).await.ok().flatten();
            drop(parent_death);
            // It fails only if the driver was dropped.
            let _ = events.send(Event::Exited(worker, status));
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

    fn on_exited(&mut self, worker: WorkerKey, status: Option<ExitStatus>) {
        self.salvage(worker);
        let replies = self.workers.get(worker).and_then(Option::as_ref);
        let init = replies.and_then(WorkerReplies::init_name);
        self.findings.exits.push(FoundExit {
            worker,
            status,
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
            match replies.reader.next(&mut self.bytes) {
                Ok(Some(head)) => {
                    let findings = &mut self.findings;
                    add_reply(findings, worker, replies, head, &self.bytes[from..], from);
                }
                Ok(None) => return count > 0,
                Err(_) => {
                    let corrupt = WorkerChange::Corrupt { worker };
                    self.findings.changes.push(corrupt);
                    return count > 0;
                }
            }
        }
        true
    }

    /// Reads all that a worker has committed, and then what it has published of the next reply. In this order: what is
    /// published can be found only behind the last reply that was read.
    fn salvage(&mut self, worker: WorkerKey) {
        while self.read(worker) {}
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
    }

    /// Gives memory for large values back to the kernel.
    fn free_idle_memory(&mut self) {
        for replies in self.workers.iter_mut().flatten() {
            replies.reader.receive_all();
        }
        let tell = self.trim.on_trim(Moment::now());
        let freed = self.shared.blob_pool().trim();
        self.shared.with(|core| {
            core.forget_blobs(&freed);
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
