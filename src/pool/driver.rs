//! The one task of a pool that waits: for replies, for the ends of workers, for time to pass.
//!
//! It reads all reply rings in one go, lets the core decide under one lock what comes next, and only
//! then decodes and wakes, so that workers are busy again before anybody looks at their results. After
//! anything has happened it lets other tasks run and looks again before it arranges to be rung for:
//! a stream of replies costs no bells.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

use super::core::{Core, Phase};
use super::delivery::{Delivery, deliver};
use super::events::{Event, StartedWorker};
use super::initializer::{InitJob, PREPARATION};
use super::shared::Shared;
use super::worker_state::{Life, WorkerIo};
use crate::call::ReplyReader;
use crate::call::envelope::Reply;
use crate::call::job::Job;
use crate::call::outcomes::ReplyBody;
use crate::error::{ErrorKind, JoinError};
use crate::schedule::WorkerKey;
use crate::spawn::Launched;
use crate::sys::clock::Moment;
use crate::sys::reactor::Watched;
use crate::transfer::blob::PackedBlob;

/// Replies read from one worker before the next one has its turn.
const REPLIES_PER_TURN: usize = 64;

/// How long memory for large values is kept after the last task.
const PARCELS_KEPT: Duration = Duration::from_secs(5);

/// The parent's end of one worker's replies.
struct WorkerReplies {
    replies: ReplyReader,
    pid: u32,
    preparation: Option<Arc<dyn InitJob>>,
    /// The preparation's arguments, until it was taken.
    packed: Vec<PackedBlob>,
}

/// What workers have of the memory for large results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leftover {
    Nothing,
    /// They keep it to use it again.
    Kept,
    /// They were told to let go of it; what they answered was not read yet.
    Released,
}

/// A reply that was read: whose, its head, and where its outcomes are in the buffer.
type Read = (WorkerKey, Reply, Range<usize>);

/// See the module.
pub(super) struct Driver {
    shared: Arc<Shared>,
    bell: Watched,
    news: mpsc::UnboundedReceiver<Event>,
    desks: Vec<Option<WorkerReplies>>,
    timer: Pin<Box<Sleep>>,
    /// When the timer goes off.
    alarm: Option<Moment>,
    bytes: Vec<u8>,
    read: Vec<Read>,
    jobs: Vec<Option<(Arc<dyn Job>, u32)>>,
    trim_at: Option<Moment>,
    large_results: Leftover,
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        bell: Watched,
        news: mpsc::UnboundedReceiver<Event>,
    ) -> Self {
        Self {
            shared,
            bell,
            news,
            desks: Vec::new(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            alarm: None,
            bytes: Vec::new(),
            read: Vec::new(),
            jobs: Vec::new(),
            trim_at: None,
            large_results: Leftover::Nothing,
        }
    }

    fn hear(&mut self, news: Event) {
        match news {
            Event::Look => {}
            Event::Launched(worker, Ok(hired)) => self.welcome(worker, *hired),
            Event::Launched(worker, Err(error)) => self.regret(worker, &error),
            Event::Ended(worker, status) => self.bury(worker, status),
        }
    }

    fn welcome(&mut self, worker: WorkerKey, hired: StartedWorker) {
        let Launched {
            requests,
            replies,
            guard,
            pidfd,
            parent_death,
            ..
        } = hired.launched;
        let pidfd = match Watched::new(pidfd) {
            Ok(pidfd) => pidfd,
            Err(error) => return self.regret(worker, &error),
        };
        let signal_handle = guard.signal_handle();
        if self.desks.len() <= worker {
            self.desks.resize_with(worker + 1, || None);
        }
        self.desks[worker] = Some(WorkerReplies {
            replies,
            pid: signal_handle.pid(),
            preparation: hired.preparation.clone(),
            packed: hired.packed,
        });
        let news = self.shared.news.clone();
        self.shared.runtime.spawn(async move {
            let status = guard.wait(pidfd).await.ok().flatten();
            drop(parent_death);
            // Nobody listens only when the driver is gone.
            let _ = news.send(Event::Ended(worker, status));
        });
        self.shared.with(|core| {
            let io = WorkerIo {
                requests,
                signal_handle,
            };
            core.on_started(worker, io, hired.preparation);
        });
    }

    fn regret(&self, worker: WorkerKey, error: &io::Error) {
        let cause =
            JoinError::new(ErrorKind::Spawn, "procession::worker").because(error.to_string());
        self.shared.with(|core| {
            core.on_start_failed(worker, &cause);
        });
    }

    fn bury(&mut self, worker: WorkerKey, status: Option<ExitStatus>) {
        while self.collect_from(worker) {
            self.hand_out();
        }
        if let Some(desk) = self.desks.get_mut(worker).and_then(Option::as_mut) {
            let from = self.bytes.len();
            if let Some(head) = desk.replies.salvage(&mut self.bytes) {
                self.read
                    .push((worker, head, from + Reply::BYTES..self.bytes.len()));
                self.hand_out();
            }
        }
        if let Some(place) = self.desks.get_mut(worker) {
            *place = None;
        }
        self.shared.with(|core| core.on_exit(worker, status));
    }

    /// Reads what the workers have replied. True if there was anything.
    fn collect(&mut self) -> bool {
        let mut any = false;
        for worker in 0..self.desks.len() {
            any |= self.collect_from(worker);
        }
        any
    }

    fn collect_from(&mut self, worker: WorkerKey) -> bool {
        let Some(desk) = self.desks.get_mut(worker).and_then(Option::as_mut) else {
            return false;
        };
        let before = self.read.len();
        while self.read.len() - before < REPLIES_PER_TURN {
            let from = self.bytes.len();
            match desk.replies.next(&mut self.bytes) {
                Ok(Some(head)) => {
                    let outcomes = from + Reply::BYTES..self.bytes.len();
                    self.read.push((worker, head, outcomes));
                }
                Ok(None) => break,
                Err(_) => {
                    // Nothing it says can be believed any more.
                    self.shared.with(|core| core.transition(worker, Life::kill));
                    break;
                }
            }
        }
        self.read.len() > before
    }

    /// Gives what was read to whom it belongs.
    fn hand_out(&mut self) {
        let (read, jobs) = (&self.read, &mut self.jobs);
        self.shared.with(|core| {
            let found = read
                .iter()
                .map(|(worker, head, _)| reply(core, *worker, head));
            jobs.extend(found);
        });
        let bytes = std::mem::take(&mut self.bytes);
        let read = std::mem::take(&mut self.read);
        let mut jobs = std::mem::take(&mut self.jobs);
        for ((worker, head, range), job) in read.iter().zip(jobs.drain(..)) {
            let (job, count) = job.unzip();
            let count = count.unwrap_or(head.count);
            let head = Reply { count, ..*head };
            self.hand_over(*worker, &head, &bytes[range.clone()], job);
        }
        // Their memory is used again.
        (self.bytes, self.read, self.jobs) = (bytes, read, jobs);
        self.bytes.clear();
        self.read.clear();
    }

    fn hand_over(
        &mut self,
        worker: WorkerKey,
        head: &Reply,
        bytes: &[u8],
        job: Option<Arc<dyn Job>>,
    ) {
        let Some(desk) = self.desks.get_mut(worker).and_then(Option::as_mut) else {
            return;
        };
        let pid = desk.pid;
        match desk.replies.body(head, bytes, pid) {
            ReplyBody::Frame(outcomes) => {
                let Some(job) = job else {
                    return;
                };
                deliver(&self.shared, &*job, head, outcomes);
                if head.task == PREPARATION {
                    self.prepared(worker);
                }
            }
            ReplyBody::Blob {
                id,
                arrived,
                outcomes,
            } => {
                self.large_results = Leftover::Kept;
                let delivery = Delivery {
                    shared: Arc::clone(&self.shared),
                    job,
                    head: *head,
                    outcomes: Some(outcomes),
                    worker,
                    pid,
                    blob: id,
                    arrived,
                };
                delivery.dispatch();
            }
        }
    }

    fn prepared(&mut self, worker: WorkerKey) {
        let Some(desk) = self.desks.get_mut(worker).and_then(Option::as_mut) else {
            return;
        };
        let Some(preparation) = &desk.preparation else {
            return;
        };
        let failure = match preparation.outcome() {
            None => return,
            Some(Ok(Ok(()))) => None,
            Some(Ok(Err(why))) => Some(spawn_error(desk.pid).because(why)),
            Some(Err(error)) => {
                let failure =
                    spawn_error(desk.pid).because(format!("{}: {error}", preparation.kind()));
                Some(match error.panic() {
                    Some(report) => failure.with_panic(report.clone()),
                    None => failure,
                })
            }
        };
        desk.preparation = None;
        for packed in desk.packed.drain(..) {
            self.shared.unpack(packed);
        }
        self.shared
            .with(|core| core.on_initialized(worker, failure.as_ref()));
    }

    /// Arranges to be woken. False if there is something to do already.
    fn fall_asleep(&mut self, cx: &mut Context<'_>) -> bool {
        for desk in self.desks.iter_mut().flatten() {
            if !desk.replies.announce_sleep() {
                return false;
            }
        }
        if let Poll::Ready(heard) = self.bell.poll_edge(cx) {
            // An error says that the runtime is shutting down; it will drop this task.
            return heard.is_err();
        }
        // A time that is not needed any more stays set: work of the same kind, which tends to come,
        // then finds the alarm early enough.
        let set = self.alarm.filter(|_| !self.timer.is_elapsed());
        let planned = set.into_iter().chain(self.trim_at).min();
        let alarm = self.shared.driver_sleeps(planned);
        if alarm == set {
            return true;
        }
        self.alarm = alarm;
        let Some(alarm) = alarm else {
            return true;
        };
        let wait = alarm.since(Moment::now());
        self.timer.as_mut().reset(Instant::now() + wait);
        self.timer.as_mut().poll(cx).is_pending()
    }

    /// Takes what slow batches have finished, and asks for the rest one by one.
    fn hurry_slow_batches(&mut self) {
        while let Some(worker) = self.shared.with(Core::flush_slow_batch) {
            let Some(desk) = self.desks.get_mut(worker).and_then(Option::as_mut) else {
                continue;
            };
            let from = self.bytes.len() + Reply::BYTES;
            if let Some(head) = desk.replies.salvage(&mut self.bytes) {
                self.read.push((worker, head, from..self.bytes.len()));
                self.hand_out();
            }
        }
    }

    /// What time alone brings about.
    fn tick(&mut self) {
        self.hurry_slow_batches();
        self.shared.with(|core| {
            core.drop_started_arguments();
            core.expire();
            core.clear_suspicions();
            core.rebalance();
            core.check_missing |= core.breaker.half_open_at().is_some();
            core.stop_idle();
            core.flush();
        });
        self.trim();
    }

    /// Gives memory for large values back to the kernel when the pool has been idle for a while.
    fn trim(&mut self) {
        let kept = self.shared.store().has_free() || self.large_results != Leftover::Nothing;
        let idle = kept && self.shared.look(|core| core.records.is_empty());
        let now = Moment::now();
        match self.trim_at {
            _ if !idle => self.trim_at = None,
            None => self.trim_at = Some(now.plus(PARCELS_KEPT)),
            Some(at) if now >= at => {
                self.let_go();
                let again = self.large_results != Leftover::Nothing;
                self.trim_at = again.then(|| now.plus(PARCELS_KEPT));
            }
            Some(_) => {}
        }
    }

    fn let_go(&mut self) {
        for desk in self.desks.iter_mut().flatten() {
            desk.replies.receive_all();
        }
        let told = self.large_results == Leftover::Kept;
        self.large_results = match told {
            true => Leftover::Released,
            false => Leftover::Nothing,
        };
        let given_up = self.shared.store().trim();
        self.shared.with(|core| {
            core.forget_blobs(&given_up);
            if told {
                core.trim_workers();
            }
        });
    }

    fn is_over(&self) -> bool {
        self.shared.look(Core::is_over)
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.driver_wakes();
        for desk in self.desks.iter().flatten() {
            desk.replies.awake();
        }
        let mut news = false;
        while let Poll::Ready(Some(heard)) = self.news.poll_recv(cx) {
            self.hear(heard);
            news = true;
        }
        let collected = self.collect();
        if collected {
            self.hand_out();
        }
        self.tick();
        if self.is_over() {
            return Poll::Ready(());
        }
        if news || collected || !self.fall_asleep(cx) {
            // Others first, then another look.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Driver {
    /// The pool is over, or the runtime is. Either way nobody will give tasks an outcome any more.
    fn drop(&mut self) {
        self.shared.with(|core| {
            core.fail_everything();
            core.close(Phase::Over);
            core.workers.clear();
        });
        self.shared.settled.send_replace(true);
    }
}

/// The job a reply is for.
fn reply(core: &mut Core, worker: WorkerKey, head: &Reply) -> Option<(Arc<dyn Job>, u32)> {
    if head.task != PREPARATION {
        return core.on_reply(worker, head);
    }
    match &core.workers.get(worker)?.life {
        Life::Preparing { init, .. } => Some((Arc::clone(init).into_job(), head.count)),
        _ => None,
    }
}

fn spawn_error(pid: u32) -> JoinError {
    JoinError::new(ErrorKind::Spawn, "procession::worker").in_process(pid)
}
