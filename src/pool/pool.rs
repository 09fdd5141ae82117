//! What a pool's handles hold, and the pool itself.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::Stream;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::call_options::CallOptions;
use super::core::{Core, Effect, Phase};
use super::driver::Event;
use super::info::{WorkerInfo, WorkerState};
use super::map::Map;
use super::metrics::Metrics;
use super::run::Run;
use super::start_worker;
use super::task_handle::TaskHandle;
use crate::call::job::Single;
use crate::schedule::Line;
use crate::sys::clock::Moment;
use crate::sys::doorbell::Doorbell;
use crate::task::{Task, TaskId};
use crate::transfer::blob::{BlobPool, Packed};

/// What the pool's handles, its driver and the threads that work for it share.
pub(super) struct Shared {
    core: Mutex<Core>,
    pub(super) runtime: Handle,
    pub(super) news: mpsc::UnboundedSender<Event>,
    pub(super) bell: Doorbell,
    pub(super) parcels: Mutex<BlobPool>,
    pub(super) settled: watch::Sender<bool>,
    pub(super) completed: AtomicU64,
    pub(super) failed: AtomicU64,
    /// When the driver looks by itself, as the bits of a moment; 0 while it is awake. Put forward
    /// only under the core's lock.
    alarm: AtomicU64,
}

impl Shared {
    pub(super) fn new(
        core: Core,
        runtime: Handle,
        news: mpsc::UnboundedSender<Event>,
        bell: Doorbell,
    ) -> Self {
        Self {
            core: Mutex::new(core),
            runtime,
            news,
            bell,
            parcels: Mutex::default(),
            settled: watch::Sender::new(false),
            completed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            alarm: AtomicU64::new(0),
        }
    }

    /// Lets `f` change what the pool knows, then does what follows from it.
    pub(super) fn with<T>(self: &Arc<Self>, f: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        core.now = Moment::now();
        let out = f(&mut core);
        core.pump();
        let sleeps_until = self.alarm.load(Ordering::Relaxed);
        if core
            .take_look_by()
            .is_some_and(|at| at.to_bits() < sleeps_until)
        {
            core.effects.push(Effect::Nudge);
        }
        let effects = std::mem::take(&mut core.effects);
        drop(core);
        for effect in effects {
            self.perform(effect);
        }
        out
    }

    /// Looks at what the pool knows.
    pub(super) fn look<T>(&self, f: impl FnOnce(&Core) -> T) -> T {
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        core.now = Moment::now();
        f(&core)
    }

    /// The driver is awake: it looks at everything before it sleeps.
    pub(super) fn driver_wakes(&self) {
        self.alarm.store(0, Ordering::Relaxed);
    }

    /// The driver falls asleep until its alarm, which is put forward to when the pool has something to
    /// look at. Returns the alarm.
    pub(super) fn driver_sleeps(&self, alarm: Option<Moment>) -> Option<Moment> {
        self.look(|core| {
            let alarm = core.next_look().into_iter().chain(alarm).min();
            let bits = alarm.map_or(u64::MAX, Moment::to_bits);
            self.alarm.store(bits, Ordering::Relaxed);
            alarm
        })
    }

    fn perform(self: &Arc<Self>, effect: Effect) {
        match effect {
            Effect::End {
                job,
                first,
                count,
                error,
            } => job.fail(first, count, &error),
            Effect::Drop(job) => drop(job),
            Effect::LetGo(job) => job.let_go(),
            Effect::Unpack(packed) => self.unpack(packed),
            Effect::Launch(worker, spec, unwanted) => {
                start_worker::launch_worker(self, worker, spec, unwanted);
            }
            Effect::Pack(task, job) => {
                let shared = Arc::clone(self);
                self.runtime.spawn_blocking(move || {
                    let packed = job.pack(&shared.parcels);
                    drop(job);
                    shared.with(|core| core.packed(task, packed));
                });
            }
            // Nobody listens only when the driver is gone, and then nothing needs doing.
            Effect::Nudge => drop(self.news.send(Event::Look)),
        }
    }

    pub(super) fn unpack(self: &Arc<Self>, packed: Packed) {
        let given_up = self.store().put_back(packed.parcel);
        if let Some(id) = given_up {
            self.with(|core| core.forget_parcels(&[id]));
        }
        // The driver gives what is kept back to the kernel when the pool has been idle for a while.
        drop(self.news.send(Event::Look));
    }

    pub(super) fn store(&self) -> std::sync::MutexGuard<'_, BlobPool> {
        self.parcels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// What keeps a pool going: clones of it and handles on its tasks. When the last is gone, so is the pool.
#[derive(Debug)]
pub(super) struct PoolGuard {
    pub(super) shared: Arc<Shared>,
}

impl Drop for PoolGuard {
    fn drop(&mut self) {
        self.shared.with(|core| core.close(Phase::Over));
    }
}

/// Worker processes that run functions.
///
/// Cloning gives another handle on the same pool. When the last clone and the last handle on a task is
/// gone, the workers are killed, without blocking.
///
/// A pool lives in the Tokio runtime in which it was built. When that ends, the workers are killed and
/// what is awaited elsewhere resolves with [`ErrorKind::Closed`](crate::ErrorKind::Closed).
///
/// ```
/// use procession::Pool;
///
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::with_workers(2)?;
/// let squares = pool.map(|x: u64| x * x, 0..5).await?;
/// assert_eq!(squares, [0, 1, 4, 9, 16]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "ProcessPoolExecutor")]
pub struct Pool {
    pub(super) front: Arc<PoolGuard>,
}

impl Pool {
    /// Runs `f` with `args` in one of the workers, once the future is awaited.
    ///
    /// Dropping the future cancels: a task that waits is removed, one that runs is killed.
    #[doc(alias = "apply")]
    #[doc(alias = "submit")]
    pub fn run<F, M, A>(&self, f: F, args: A) -> Run<F::Output>
    where
        F: Task<M, A>,
    {
        let _ = f; // has no bytes: its type is the function
        let job = Arc::new(Single::<F::Call>::new(F::arguments(args)));
        Run::new(&self.front, job, self.defaults())
    }

    /// Runs `f` with `args` in one of the workers, from now on. Dropping the handle detaches.
    #[doc(alias = "apply_async")]
    pub fn spawn<F, M, A>(&self, f: F, args: A) -> TaskHandle<F::Output>
    where
        F: Task<M, A>,
    {
        self.run(f, args).spawn()
    }

    /// Runs `f` on every item, in the workers, once the map is awaited or read as a stream.
    ///
    /// The input is read as there is room for it. See [`Map`].
    #[doc(alias = "imap")]
    #[doc(alias = "imap_unordered")]
    #[doc(alias = "starmap")]
    pub fn map<'a, F, M, I>(&self, f: F, items: I) -> Map<'a, F::Output>
    where
        F: Task<M, I::Item>,
        I: IntoIterator,
        I::IntoIter: Send + 'a,
        I::Item: 'a,
        M: 'a,
    {
        let _ = f; // has no bytes: its type is the function
        Map::over_iterator::<F, M, _>(&self.front, items.into_iter(), self.defaults())
    }

    /// Runs `f` on every item of a stream, which is polled only when there is room for more.
    pub fn map_stream<'a, F, M, S>(&self, f: F, items: S) -> Map<'a, F::Output>
    where
        F: Task<M, S::Item>,
        S: Stream + Send + 'a,
        S::Item: 'a,
        M: 'a,
    {
        let _ = f; // has no bytes: its type is the function
        Map::over_stream::<F, M, _>(&self.front, items, self.defaults())
    }

    /// What the pool has done so far and is doing now.
    pub fn metrics(&self) -> Metrics {
        let shared = &self.front.shared;
        shared.look(|core| {
            let lines = (0..core.workers.len()).filter_map(|worker| core.schedule.line(worker));
            let running: Vec<_> = lines.map(Line::len).collect();
            let mut counts = core.counts.clone();
            counts.completed += shared.completed.load(Ordering::Relaxed);
            counts.failed += shared.failed.load(Ordering::Relaxed);
            Metrics {
                workers: core
                    .workers
                    .iter()
                    .flatten()
                    .filter(|it| !it.stopping)
                    .count(),
                busy: running.iter().filter(|&&len| len > 0).count(),
                queued: core.schedule.waiting(),
                running: running.iter().sum(),
                counts,
            }
        })
    }

    /// The workers and what they are doing.
    pub fn workers(&self) -> Vec<WorkerInfo> {
        self.front.shared.look(|core| {
            let workers = core.workers.iter().enumerate();
            let known = workers.filter_map(|(key, it)| Some((key, it.as_ref()?)));
            known
                .map(|(key, it)| {
                    let front = core.schedule.line(key).and_then(Line::front);
                    let state = match (it.stopping, it.ready, &front) {
                        (true, ..) => WorkerState::Stopping,
                        (_, false, _) => WorkerState::Starting,
                        (_, _, Some(_)) => WorkerState::Busy,
                        (_, _, None) => WorkerState::Idle,
                    };
                    WorkerInfo {
                        pid: it.pid(),
                        state,
                        tasks_done: it.done,
                        age: core.now.since(it.since),
                        current_task: front.map(|entry| TaskId(entry.task)),
                    }
                })
                .collect()
        })
    }

    /// Takes no new tasks, finishes those there are, and resolves when the last worker has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the pool goes on closing; call it again to wait again.
    #[doc(alias = "close")]
    #[doc(alias = "join")]
    pub fn shutdown(&self) -> Shutdown {
        self.front.shared.with(|core| core.close(Phase::Closing));
        Shutdown::new(&self.front, None)
    }

    /// Like [`Pool::shutdown`], but kills what has not ended after `limit`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe, but if it is dropped before `limit`, nothing is killed.
    pub fn shutdown_timeout(&self, limit: Duration) -> Shutdown {
        self.front.shared.with(|core| core.close(Phase::Closing));
        Shutdown::new(&self.front, Some(limit))
    }

    /// Kills every worker, whatever it is doing, and resolves when the last has ended. Tasks that had
    /// no outcome have [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the workers are killed all the same.
    pub fn terminate(&self) -> Shutdown {
        self.front.shared.with(|core| core.close(Phase::Over));
        Shutdown::new(&self.front, None)
    }

    fn defaults(&self) -> CallOptions {
        self.front.shared.look(|core| CallOptions {
            timeout: core.settings.task_timeout,
            retries: core.settings.retries,
            ..CallOptions::default()
        })
    }
}

/// Resolves when a pool's last worker has ended.
///
/// # Cancel safety
///
/// Cancel safe: dropping it changes nothing about the pool.
#[must_use = "a pool closes by itself; await this to know when it has"]
pub struct Shutdown(std::pin::Pin<Box<dyn Future<Output = ()> + Send>>);

impl Shutdown {
    fn new(front: &Arc<PoolGuard>, limit: Option<Duration>) -> Self {
        let front = Arc::clone(front);
        let mut settled = front.shared.settled.subscribe();
        Self(Box::pin(async move {
            let mut wait = std::pin::pin!(settled.wait_for(|settled| *settled));
            if let Some(limit) = limit {
                if tokio::time::timeout(limit, &mut wait).await.is_ok() {
                    return;
                }
                front.shared.with(|core| core.close(Phase::Over));
            }
            // The driver says so when it ends, in whatever way.
            let _ = wait.await;
        }))
    }
}

impl Future for Shutdown {
    type Output = ();

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shutdown")
    }
}
