//! One call that is awaited.
//!
//! Runs in the parent, in the task that awaits the call. Must stay true: the call is submitted once, and a dropped
//! `Run` leaves no task behind.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::{pin_project, pinned_drop};

use super::task_handle::TaskHandle;
use super::ticket::Ticket;
use crate::call::encoded_items::EncodedItems;
use crate::call::single::Awaited;
use crate::error::{ErrorKind, JoinError};
use crate::pool::decisions::admission::Need;
use crate::pool::decisions::target::Target;
use crate::pool::options::call_options::option_setters;
use crate::pool::options::shared_options::SharedOptions;
use crate::pool::pool_guard::PoolGuard;
use crate::schedule::{Priority, TaskKey};

/// A call in one of a pool's workers. Made by [`Pool::run`](crate::Pool::run).
///
/// The call is submitted to the pool when it is first polled, or by [`Run::spawn`]. It resolves to the function's
/// result. In a pool whose queue is full ([`queue_limit`](crate::PoolBuilder::queue_limit)) it first waits for a place.
///
/// Dropping it cancels the call: a waiting task is removed; a running task is killed with every process it
/// started, and no other task is affected.
///
/// # Errors
///
/// A [`JoinError`] of any [`kind`](JoinError::kind).
///
/// # Cancel safety
///
/// Dropping it cancels the task. Awaiting `&mut run` in a `select!` that another branch wins loses nothing.
///
/// # Panics
///
/// If it is polled after it has resolved.
///
/// ```
/// use std::time::Duration;
///
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = procession::Pool::with_workers(1)?;
/// let sum = pool
///     .run(|a: u32, b: u32| a + b, (1, 2))
///     .timeout(Duration::from_secs(5))
///     .await?;
/// assert_eq!(sum, 3);
/// # Ok(())
/// # }
/// ```
#[must_use = "a call does nothing until it is awaited or spawned"]
#[pin_project(PinnedDrop)]
pub struct Run<R> {
    guard: Arc<PoolGuard>,
    job: Arc<dyn Awaited<R>>,
    options: SharedOptions,
    stage: Stage,
    /// Whether the drop leaves a worker alone that has started the call.
    spares_worker: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    /// It waits for a place in the queue, or has one.
    Held(Ticket),
    Submitted(TaskKey),
    /// The call has its outcome, or belongs to a [`TaskHandle`]. Nothing is cancelled at the drop.
    Over,
}

impl<R> Run<R> {
    pub(in crate::pool) fn new(
        guard: &Arc<PoolGuard>,
        job: Arc<dyn Awaited<R>>,
        options: SharedOptions,
    ) -> Self {
        Self {
            guard: Arc::clone(guard),
            job,
            options,
            stage: Stage::New,
            spares_worker: false,
        }
    }

    /// Dropping the call removes it if it waits. If it was started, it runs to its end.
    pub(in crate::pool) fn sparing_worker(mut self) -> Self {
        self.spares_worker = true;
        self
    }

    /// A call that has a place in the queue.
    pub(in crate::pool) fn with_ticket(
        guard: &Arc<PoolGuard>,
        job: Arc<dyn Awaited<R>>,
        options: SharedOptions,
        ticket: Ticket,
    ) -> Self {
        let mut run = Self::new(guard, job, options);
        run.stage = Stage::Held(ticket);
        run
    }

    option_setters!("the call");

    /// Limits how long the call may run without a sign of life.
    ///
    /// The function gives a sign with [`task::alive`](crate::task::alive). The time counts from the last sign, and at
    /// first from the start of the call, on the application's clock. After the limit the call ends as after its
    /// [`timeout`](Run::timeout), which holds as well. By default there is no such limit.
    pub fn progress_timeout(mut self, limit: Duration) -> Self {
        self.options.progress_timeout = Some(limit);
        self
    }

    /// Submits the call now and returns a handle to its task. Dropping the handle detaches the task.
    ///
    /// The task is queued also if the queue is full.
    pub fn spawn(mut self) -> TaskHandle<R> {
        self.options.begin_wait();
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let key = match stage {
            Stage::New => self.submit(None),
            Stage::Held(ticket) => self.submit(Some(ticket)),
            Stage::Submitted(key) => Some(key),
            Stage::Over => None,
        };
        TaskHandle::new(&self.guard, Arc::clone(&self.job), key)
    }

    /// Hands the call to the pool, in the place of a ticket if there is one. `None` if the pool is closed; the call
    /// then has its outcome.
    fn submit(&mut self, ticket: Option<Ticket>) -> Option<TaskKey> {
        let job = Arc::clone(&self.job).into_job();
        let options = std::mem::take(&mut self.options);
        let target = options.target;
        // Before the lock is taken: it runs the `Serialize` of the arguments.
        let encoded = EncodedItems::of(&*job);
        let (key, waker) = self.guard.shared.with(|core| {
            let waker = ticket.and_then(|ticket| core.give_back(ticket));
            (core.submit(job, encoded, options), waker)
        });
        drop(waker);
        if key.is_none() {
            self.refuse(target);
        }
        key
    }

    /// The pool has not taken the call, which was for `target`.
    #[cold]
    fn refuse(&self, target: Option<Target>) {
        let shared = &self.guard.shared;
        let error = match shared.is_elsewhere() {
            true => JoinError::elsewhere(self.job.name()),
            false => shared.read(|core| core.refusal_of(self.job.name(), target)),
        };
        self.job.slot().set(Err(error));
    }

    /// Submits the call, once there is room for it. Afterwards it has an outcome or will have one.
    fn poll_submit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.options.begin_wait();
        // What one worker must run does not wait behind what the others may run.
        let has_room =
            !self.guard.shared.settings.has_queue_limits() || self.options.target.is_some();
        if self.stage == Stage::New && has_room {
            self.stage = self.submit(None).map_or(Stage::Over, Stage::Submitted);
            return Poll::Ready(());
        }
        while matches!(self.stage, Stage::New | Stage::Held(_)) {
            self.stage = match ready!(self.poll_place(cx)) {
                Ok(place) => self.submit_placed(place, cx),
                Err(error) => {
                    self.count_refused(error.kind());
                    self.job.slot().set(Err(error));
                    Stage::Over
                }
            };
        }
        Poll::Ready(())
    }

    /// Waits for a place. Returns the bytes for which it is.
    fn poll_place(&mut self, cx: &Context<'_>) -> Poll<Result<u64, JoinError>> {
        let (shared, task) = (&self.guard.shared, self.job.name());
        if self.stage == Stage::New {
            match Ticket::take(shared, self.need(0), task, cx) {
                Ok(ticket) => self.stage = Stage::Held(ticket),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let Stage::Held(ticket) = &mut self.stage else {
            return Poll::Pending;
        };
        ready!(ticket.poll(shared, task, cx))?;
        match *ticket {
            Ticket::HasPlace(bytes) => Poll::Ready(Ok(bytes)),
            Ticket::Waits(_) => Poll::Pending,
        }
    }

    /// Submits the call in a place for so many bytes. If the arguments are longer than there is room, they are encoded
    /// again when there is.
    fn submit_placed(&self, place: u64, cx: &Context<'_>) -> Stage {
        let job = Arc::clone(&self.job).into_job();
        let (shared, options) = (&self.guard.shared, self.options.clone());
        let encoded = EncodedItems::of(&*job);
        match shared.with(|core| core.submit_placed(job, encoded, options, place)) {
            Ok(Some(key)) => Stage::Submitted(key),
            Ok(None) => {
                self.refuse(self.options.target);
                Stage::Over
            }
            Err((_, bytes)) => {
                let waits = Ticket::wait(shared, self.need(bytes), self.job.name(), cx, true);
                waits.map_or_else(
                    |error| {
                        self.job.slot().set(Err(error));
                        Stage::Over
                    },
                    Stage::Held,
                )
            }
        }
    }

    /// The wait of the call for a place has ended without one. What a closed pool refuses does not count, nor does a
    /// request for a worker.
    fn count_refused(&self, kind: ErrorKind) {
        if kind != ErrorKind::Closed && !self.job.wants_worker() {
            self.guard.shared.with(|core| core.count_failed(kind, 1));
        }
    }

    fn need(&self, bytes: u64) -> Need {
        Need {
            priority: self.options.priority,
            bytes,
            start_by: self.options.start_by,
        }
    }
}

impl<R> Future for Run<R> {
    type Output = Result<R, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(self.poll_submit(cx));
        let this = self.project();
        let outcome = this.job.poll_outcome(cx);
        match outcome.is_ready() {
            true => *this.stage = Stage::Over,
            false => this.guard.shared.expect(),
        }
        outcome
    }
}

#[pinned_drop]
impl<R> PinnedDrop for Run<R> {
    fn drop(self: Pin<&mut Self>) {
        let shared = &self.guard.shared;
        match self.stage {
            Stage::Held(ticket) => {
                if let Ticket::Waits(_) = ticket {
                    self.count_refused(ErrorKind::Cancelled);
                }
                ticket.leave(shared);
            }
            Stage::Submitted(key) if !self.job.slot().is_set() => match self.spares_worker {
                true => shared.with(|core| core.withdraw(key)),
                false => shared.with(|core| core.cancel(key)),
            },
            _ => {}
        }
    }
}

impl<R> fmt::Debug for Run<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("task", &self.job.name())
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
