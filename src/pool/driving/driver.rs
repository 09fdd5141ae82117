//! The only task of a pool that waits: for replies, for the exit of workers, for time to pass.
//!
//! A poll reads all reply rings, reports what it has found to the core under one lock (`tick`), and only then decodes
//! outcomes and wakes callers, so that workers have their next tasks before results are looked at. After anything has
//! happened it yields and polls again before it sleeps: while replies stream in, no worker rings the doorbell.
//!
//! Runs in the application, on the runtime in which the pool was built, or the crate's own (`background`). Must stay
//! true: the driver sleeps only if every reply ring was empty after it announced its sleep, and the alarm was set under
//! the core's lock. One poll takes the lock once, except to free idle memory, every few seconds at most.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::effects;
use super::events::{DriverEvent, StartedWorker};
use super::findings::WorkerChange;
use super::memory_watch::MemoryWatch;
use super::reply_inbox::ReplyInbox;
use super::trim::Trim;
use super::worker_bell::WorkerBell;
use super::worker_replies::WorkerReplies;
use crate::call::RequestWriter;
use crate::error::{ErrorKind, JoinError};
use crate::own_runtime::Timer;
use crate::pool::decisions::core::{Effect, Failure};
use crate::pool::decisions::worker_state::WorkerIo;
use crate::pool::shared::PoolShared;
use crate::schedule::WorkerKey;
use crate::spawn::{LaneLink, Launched};
use crate::sys::clock::Moment;
use crate::sys::reactor::Watched;

/// See the module.
pub(in crate::pool) struct Driver {
    shared: Arc<PoolShared>,
    events: mpsc::UnboundedReceiver<DriverEvent>,
    inbox: ReplyInbox,
    timer: Pin<Box<Timer>>,
    /// When the timer fires.
    alarm: Option<Moment>,
    trim: Trim,
    /// The memory for the effects of the next turn.
    performed: Vec<Effect>,
    /// Dropped with the driver, which resolves [`PoolShared::ended`].
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
    pub(in crate::pool) fn new(
        shared: Arc<PoolShared>,
        events: mpsc::UnboundedReceiver<DriverEvent>,
        ended: oneshot::Sender<()>,
    ) -> Self {
        Self {
            shared,
            events,
            inbox: ReplyInbox::default(),
            timer: Box::pin(Timer::after(Duration::ZERO)),
            alarm: None,
            trim: Trim::new(),
            performed: Vec::new(),
            _ended: ended,
        }
    }

    /// One poll. True if the pool is over.
    fn run(&mut self, cx: &mut Context<'_>) -> bool {
        let rung = self.wake_up(cx);
        // Outcomes that were salvaged after the last tick.
        let salvaged = !self.inbox.findings.replies.is_empty();
        let told = self.take_events(cx);
        let replied = self.inbox.read_all();
        self.inbox.find_idle_ringers(rung, replied);
        if let Some(limit) = self.shared.settings.limits.memory.filter(|_| replied) {
            self.inbox.find_overgrown(limit);
        }
        let busy = salvaged || told || replied;
        let mut turn = self.turn(busy);
        self.shared.perform(&mut turn.effects);
        self.performed = turn.effects;
        if self.inbox.deliver(&self.shared) {
            self.trim.on_worker_blob();
        }
        // After the outcomes of items that ran before the failed ones.
        effects::fail(turn.failures);
        if turn.over {
            return true;
        }
        self.inbox.forget_exited();
        if turn.trim {
            self.free_idle_memory();
        }
        for worker in turn.slow {
            self.inbox.salvage(worker);
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
        self.inbox.awake();
        // Clears the edge before the rings are read: a ring of a doorbell from now on is another edge. An error says
        // that the runtime is shutting down, and drops this task.
        self.inbox.poll_bells(cx).is_ready()
    }

    /// Lets the core tick, under one lock.
    fn turn(&mut self, busy: bool) -> Turn {
        // An alarm that is not needed any more stays set. The next task, which tends to be of the same kind, finds it
        // early enough, and need not wake the driver to set another.
        let set = self.alarm.filter(|_| !self.timer.is_elapsed());
        let mut core = self.shared.lock();
        core.reuse(std::mem::take(&mut self.performed));
        let slow = core.tick(&mut self.inbox.findings);
        // This turn checks everything.
        core.forget_run_by();
        let idle = core.records.is_empty();
        let kept = idle && core.has_free_blobs();
        let trim = self.trim.is_due(idle, kept, core.now);
        let sleep = !busy && slow.is_empty() && !trim;
        let alarm = match sleep {
            true => {
                let alarms = set.into_iter().chain(self.trim.at());
                let alarm = alarms.chain(core.next_run()).min();
                self.shared.driver_sleeps(alarm);
                alarm
            }
            // The next turn comes at once. To find out when it would have to come takes longer than a short turn.
            false => None,
        };
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
        if !self.inbox.announce_sleep() {
            return false;
        }
        if let Poll::Ready(rung) = self.inbox.poll_bells(cx) {
            self.inbox.on_fruitless_ring();
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
            told |= !matches!(event, DriverEvent::Wake);
            self.on_event(event);
        }
        told
    }

    fn on_event(&mut self, event: DriverEvent) {
        match event {
            DriverEvent::Wake => {}
            DriverEvent::Uncached(id) => self.inbox.findings.uncached.push(id),
            DriverEvent::Started(worker, Ok(started)) => self.on_started(worker, *started),
            DriverEvent::Started(worker, Err(error)) => self.on_start_failed(worker, &error),
            DriverEvent::Exited(worker, end, stderr) => self.inbox.on_exited(worker, end, stderr),
        }
    }

    fn on_started(&mut self, worker: WorkerKey, started: StartedWorker) {
        let Launched {
            requests,
            mut replies,
            others,
            guard,
            pidfd,
            ties,
            parent_death,
            ..
        } = started.launched;
        let watched = (Watched::new(pidfd), WorkerBell::new(started.doorbell));
        let (pidfd, bell) = match watched {
            (Ok(pidfd), Ok(bell)) => (pidfd, bell),
            (Err(error), _) | (_, Err(error)) => return self.on_start_failed(worker, &error),
        };
        let signal_handle = guard.signal_handle();
        let has_init = !started.init.is_empty();
        let pid = signal_handle.pid();
        replies.limit_results(self.shared.settings.result_limit);
        let mut replies =
            WorkerReplies::new(replies, Some(bell), pid, started.init, started.packed);
        let is_limited = self.shared.settings.limits.memory.is_some();
        replies.memory = is_limited.then(|| MemoryWatch::new(pid));
        self.inbox.add(worker, replies);
        let (events, stderr) = (self.shared.events.clone(), started.stderr);
        self.shared.background.spawn(async move {
            let end = guard.wait(pidfd, ties).await.unwrap_or_default();
            drop(parent_death);
            let stderr = match stderr.filter(|_| end.has_crashed()) {
                Some(stderr) => stderr.ask().await,
                None => String::new(),
            };
            // It fails only if the driver was dropped.
            let _ = events.send(DriverEvent::Exited(worker, end, stderr));
        });
        let io = |requests| WorkerIo {
            requests,
            signal_handle: Arc::clone(&signal_handle),
        };
        let mut all = vec![(worker, io(requests))];
        for (lane, link) in self.add_lanes(worker, pid, others) {
            all.push((lane, io(link)));
        }
        let changes = all.into_iter().map(|(worker, io)| WorkerChange::Started {
            worker,
            io: Box::new(io),
            has_init,
        });
        self.inbox.findings.changes.extend(changes);
    }

    /// The other lanes of a worker that was started.
    fn add_lanes(
        &mut self,
        worker: WorkerKey,
        pid: u32,
        links: Vec<LaneLink>,
    ) -> Vec<(WorkerKey, RequestWriter)> {
        if links.is_empty() {
            return Vec::new();
        }
        let lanes: Vec<_> = self.shared.lock().workers.lanes(worker).skip(1).collect();
        let mut requests = Vec::with_capacity(links.len());
        for (&lane, link) in lanes.iter().zip(links) {
            let replies = WorkerReplies::of_lane(worker, link.replies, pid);
            self.inbox.add(lane, replies);
            requests.push((lane, link.requests));
        }
        self.inbox.set_lanes(worker, lanes);
        requests
    }

    fn on_start_failed(&mut self, worker: WorkerKey, error: &std::io::Error) {
        let cause =
            JoinError::new(ErrorKind::Spawn, "procession::worker").because(error.to_string());
        self.inbox
            .findings
            .changes
            .push(WorkerChange::StartFailed { worker, cause });
    }
}

/// Memory.
impl Driver {
    /// Gives memory for large values back to the kernel.
    fn free_idle_memory(&mut self) {
        self.inbox.receive_all();
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
        self.shared.event_log.end();
    }
}
