//! One worker for several calls.
//!
//! Runs in the parent. Must stay true: a worker that was lent out is given back, also if the request for it was dropped
//! at the moment at which it was granted.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use pin_project::pin_project;

use super::run::Run;
use super::stream_task::StreamTask;
use super::task_stream::TaskStream;
use crate::call::Slot;
use crate::call::job::Job;
use crate::call::single::{Awaited, OneCall, Single};
use crate::error::JoinError;
use crate::pool::decisions::target::{Target, WorkerId};
use crate::pool::options::call_options::CallOptions;
use crate::pool::options::shared_options::SharedOptions;
use crate::pool::pool::Pool;
use crate::pool::pool_guard::PoolGuard;
use crate::pool::shared::PoolShared;
use crate::task::{Call, Task};

/// One worker of a pool, for several calls. Made by [`Pool::worker`].
///
/// Calls of the lease run in this worker and nowhere else, one after the other, so that what one call leaves in a
/// `static` is there for the next. No other task of the pool runs in the worker meanwhile. The pool continues with its
/// other workers. If all of them are leased, its tasks wait.
///
/// Dropping the lease gives the worker back. Calls that were submitted before are run first. With
/// [`tasks_per_worker`](crate::PoolBuilder::tasks_per_worker) the lease has all places of the worker.
///
/// # End
///
/// The lease ends with its worker: when a call crashes, exits, or is stopped, by its timeout or because it was dropped,
/// and does not return within the pool's [`cancel_grace`](crate::PoolBuilder::cancel_grace). That is an error of this
/// one call. Calls that wait then, and later calls, fail with [`ErrorKind::Closed`](crate::ErrorKind::Closed).
/// [`PoolBuilder::retries`](crate::PoolBuilder::retries) does not apply. A panic ends the call and not the lease. A
/// [`broadcast`](Pool::broadcast) also runs in leased workers, between two calls of the lease: if its function ends the
/// worker there, is stopped by the pool's timeout or is dropped, the lease ends too.
///
/// [`Pool::shutdown`] ends all leases: calls that were submitted are finished, later ones are `Closed`. A leased worker
/// is neither stopped because it is idle nor replaced because of its age, its memory or its number of tasks; that comes
/// when it was given back.
///
/// # Together with other options
///
/// Calls of the lease run in the order of their submission, whatever their [`priority`](Run::priority) and
/// [`key`](Run::key) are. They need no place in a full queue. Their [`timeout`](Run::timeout) and
/// [`queue_timeout`](Run::queue_timeout) are those of other calls.
///
/// ```
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// static CALLS: AtomicU32 = AtomicU32::new(0);
///
/// let pool = procession::Pool::with_workers(2)?;
/// let lease = pool.worker().await?;
/// for calls in 0..3 {
///     let before = lease.run(|| CALLS.fetch_add(1, Ordering::Relaxed), ()).await?;
///     assert_eq!(before, calls);
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping a lease gives its worker back"]
pub struct Lease {
    held: HeldWorker,
    guard: Arc<PoolGuard>,
    /// Those of its calls.
    options: SharedOptions,
}

impl Lease {
    /// Runs `f` with `args` in the leased worker. As [`Pool::run`], with the options of a [`Run`].
    pub fn run<F, M, A>(&self, f: F, args: A) -> Run<F::Output>
    where
        F: Task<M, A>,
    {
        let _ = f; // has no bytes: its type is the function
        let job = Arc::new(Single::<F::Call>::new(F::arguments(args)));
        Run::new(&self.guard, job, self.options.clone())
    }

    /// Runs `f` in the leased worker, and gives the items that it sends while it runs. As [`Pool::stream`].
    pub fn stream<F, M, A>(&self, f: F, args: A) -> TaskStream<F::Item>
    where
        F: StreamTask<M, A>,
        A: Send + 'static,
    {
        let _ = f; // has no bytes: its type is the function
        TaskStream::new::<F::Call>(&self.guard, self.options.clone(), |emit| {
            F::arguments(emit, args)
        })
    }

    /// The id of the worker's process.
    pub fn pid(&self) -> u32 {
        self.held.pid
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("pid", &self.held.pid)
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// Takes one worker for several calls.
    ///
    /// The request waits for its turn among the waiting tasks, and then until a worker has finished what it has. It is
    /// made when the future is first polled.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Closed`](crate::ErrorKind::Closed): the pool was shut down.
    /// - [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) or `Closed`: the pool was terminated while the request
    ///   waited.
    /// - [`ErrorKind::Spawn`](crate::ErrorKind::Spawn): no worker can be started.
    /// - [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut): the request has waited for the pool's
    ///   [`queue_timeout`](crate::PoolBuilder::queue_timeout).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future withdraws the request, or gives the worker back. Awaiting `&mut future` in a `select!` that
    /// another branch wins loses nothing.
    pub fn worker(&self) -> LeaseRequest {
        let job = Arc::new(LeaseCall {
            shared: Arc::downgrade(&self.guard.shared),
            slot: Slot::new(),
        });
        let options = CallOptions {
            timeout: None,
            ..self.guard.shared.settings.defaults()
        };
        LeaseRequest {
            guard: Arc::clone(&self.guard),
            run: Run::new(&self.guard, job, options.into()),
        }
    }
}

/// A future that resolves to a [`Lease`]. Made by [`Pool::worker`].
///
/// # Errors
///
/// Those of [`Pool::worker`].
///
/// # Cancel safety
///
/// Dropping it withdraws the request, or gives the worker back. Awaiting `&mut request` in a `select!` that another
/// branch wins loses nothing.
///
/// # Panics
///
/// If it is polled after it has resolved.
#[must_use = "a request does nothing until it is awaited"]
#[pin_project]
#[derive(Debug)]
pub struct LeaseRequest {
    guard: Arc<PoolGuard>,
    #[pin]
    run: Run<HeldWorker>,
}

impl Future for LeaseRequest {
    type Output = Result<Lease, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let held = ready!(this.run.poll(cx))?;
        let options = CallOptions {
            target: Some(Target::Lease(held.id)),
            retries: 0,
            ..this.guard.shared.settings.defaults()
        };
        Poll::Ready(Ok(Lease {
            held,
            guard: Arc::clone(this.guard),
            options: options.into(),
        }))
    }
}

/// A worker that was lent out. Dropping it gives the worker back.
struct HeldWorker {
    shared: Weak<PoolShared>,
    id: WorkerId,
    pid: u32,
}

impl Drop for HeldWorker {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.with(|core| core.end_lease(self.id));
        }
    }
}

/// The request for a worker, which is never sent to one.
struct LeaseCall {
    shared: Weak<PoolShared>,
    slot: Slot<HeldWorker>,
}

impl Call for LeaseCall {
    type Args = ();
    type Output = ();

    fn name() -> &'static str {
        "procession::Pool::worker"
    }

    fn call((): ()) {}
}

impl OneCall for LeaseCall {
    type Call = Self;

    fn with_arguments<T>(&self, f: impl FnOnce(&()) -> T) -> Option<T> {
        Some(f(&()))
    }

    fn settle(&self, outcome: Result<(), JoinError>) {
        if let Err(error) = outcome {
            self.slot.set(Err(error));
        }
    }

    fn wants_worker(&self) -> bool {
        true
    }

    fn lend(&self, worker: u64, pid: u32) {
        self.slot.set(Ok(HeldWorker {
            shared: Weak::clone(&self.shared),
            id: WorkerId(worker),
            pid,
        }));
    }
}

impl Awaited<HeldWorker> for LeaseCall {
    fn slot(&self) -> &Slot<HeldWorker> {
        &self.slot
    }

    fn into_job(self: Arc<Self>) -> Arc<dyn Job> {
        self
    }
}

impl fmt::Debug for LeaseCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseCall")
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}
