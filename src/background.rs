//! Futures that run in the background of a pool or a process, in the runtime in which it was made.
//!
//! Runs in the application. A runtime that exists may not be driven at the moment: a current-thread runtime outside of
//! `block_on`, or one whose threads are all blocked. Its futures make no progress, and the tasks of other runtimes that
//! wait for them would wait for ever. So such a task has the futures watched: if their runtime does not poll them
//! within [`REACTION`] after they were woken, the crate's own runtime takes them over and keeps them.
//!
//! Must stay true: a future is polled by one thread at a time; it is dropped with its first runtime, wherever it is
//! polled; while the tasks that wait are in the same runtime, nothing is watched.
//!
//! Never here: what the futures do. What they wait for follows them by itself: see [`reactor`](crate::sys::reactor) and
//! [`Timer`](crate::own_runtime::Timer).

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::future::{Either, select};
use tokio::runtime::{Handle, Id};

use crate::own_runtime;
use crate::own_runtime::{Stay, Timer};

/// A runtime that does not poll a future for so long after it was woken is taken not to be driven.
const REACTION: Duration = Duration::from_millis(100);

/// The longest time between two checks of a runtime that is driven.
const LONGEST_CHECK_PAUSE: Duration = Duration::from_secs(1);

/// Futures that belong together.
#[derive(Debug)]
pub(crate) struct Background {
    runtime: Handle,
    id: Id,
    futures: Mutex<Vec<Weak<Movable>>>,
    /// How often their first runtime has polled any of them.
    polls: AtomicU64,
    is_watched: AtomicBool,
    /// The crate's own runtime polls them.
    is_moved: AtomicBool,
}

/// All backgrounds of this process that may still exist.
static ALL: Mutex<Vec<Weak<Background>>> = Mutex::new(Vec::new());

impl Background {
    /// A background in the current runtime.
    pub(crate) fn here() -> Arc<Self> {
        let runtime = Handle::current();
        let background = Arc::new(Self {
            id: runtime.id(),
            runtime,
            futures: Mutex::default(),
            polls: AtomicU64::new(0),
            is_watched: AtomicBool::new(false),
            is_moved: AtomicBool::new(false),
        });
        push(&mut lock(&ALL), Arc::downgrade(&background));
        background
    }

    /// The runtime in which it was made.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Runs `future` in the background.
    pub(crate) fn spawn(self: &Arc<Self>, future: impl Future<Output = ()> + Send + 'static) {
        let movable = Arc::new(Movable {
            future: Mutex::new(Some(Box::pin(future))),
            is_moved: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            first_waker: OnceLock::new(),
            own_waker: Mutex::new(None),
        });
        let mut futures = lock(&self.futures);
        push(&mut futures, Arc::downgrade(&movable));
        // Under the lock: a move comes before this or after.
        if self.is_moved.load(Ordering::Acquire) {
            if let Ok(stay) = own_runtime::stay() {
                movable.move_to(stay);
            }
        }
        drop(futures);
        let background = Arc::clone(self);
        self.runtime.spawn(FirstTask {
            movable,
            background,
        });
    }

    /// Whether a future is left.
    pub(crate) fn is_running(&self) -> bool {
        let futures = lock(&self.futures);
        futures.iter().any(|future| future.strong_count() > 0)
    }

    /// Notes that the current task waits for what the futures do. If it is in another runtime, they are watched for as
    /// long as the closure that `is_needed` makes says so.
    #[inline]
    pub(crate) fn expect<F>(self: &Arc<Self>, is_needed: impl FnOnce() -> F)
    where
        F: Fn() -> bool + Send + 'static,
    {
        if !self.is_here() {
            self.watch(is_needed());
        }
    }

    /// Whether the current task is in the runtime in which this was made.
    #[inline]
    fn is_here(&self) -> bool {
        Handle::try_current().is_ok_and(|here| here.id() == self.id)
    }

    #[cold]
    fn watch(self: &Arc<Self>, is_needed: impl Fn() -> bool + Send + 'static) {
        if self.is_moved.load(Ordering::Acquire) || self.is_watched.swap(true, Ordering::AcqRel) {
            return;
        }
        match own_runtime::stay() {
            Ok(stay) => {
                let runtime = stay.runtime().clone();
                runtime.spawn(watch(Arc::downgrade(self), is_needed, stay));
            }
            Err(_) => self.is_watched.store(false, Ordering::Release),
        }
    }

    /// Has the futures polled, if their runtime is driven. Returns how often they were polled before.
    fn wake(&self) -> u64 {
        let before = self.polls.load(Ordering::Acquire);
        let futures: Vec<_> = lock(&self.futures)
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        for future in futures {
            if let Some(waker) = future.first_waker.get() {
                waker.wake_by_ref();
            }
        }
        before
    }

    /// Has the crate's own runtime poll the futures from now on, unless they were polled more often than `seen`.
    fn move_unless_polled(&self, seen: u64, stay: &Stay) {
        let futures = lock(&self.futures);
        if self.polls.load(Ordering::Acquire) != seen {
            return;
        }
        self.is_moved.store(true, Ordering::Release);
        for future in futures.iter().filter_map(Weak::upgrade) {
            future.move_to(stay.clone());
        }
    }
}

/// Checks whether the futures are polled by their runtime, for as long as they are needed.
async fn watch(background: Weak<Background>, is_needed: impl Fn() -> bool, stay: Stay) {
    let mut pause = REACTION;
    while let Some(seen) = background.upgrade().map(|it| it.wake()) {
        tokio::time::sleep(REACTION).await;
        let Some(watched) = background.upgrade() else {
            return;
        };
        watched.move_unless_polled(seen, &stay);
        if watched.is_moved.load(Ordering::Acquire) {
            return;
        }
        drop(watched);
        let end = tokio::time::Instant::now() + pause;
        pause = LONGEST_CHECK_PAUSE.min(2 * pause);
        if !is_needed() {
            let Some(watched) = background.upgrade() else {
                return;
            };
            watched.is_watched.store(false, Ordering::Release);
            // Again: a task that has come meanwhile has seen that the futures are watched.
            if !is_needed() || watched.is_watched.swap(true, Ordering::AcqRel) {
                return;
            }
        }
        tokio::time::sleep_until(end).await;
    }
}

/// Waits for `future`, which may wait for futures of other runtimes: for a lock that they hold.
pub(crate) async fn despite_others<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    if let Poll::Ready(output) = futures::poll!(future.as_mut()) {
        return output;
    }
    loop {
        let timer = std::pin::pin!(Timer::after(REACTION));
        match select(future.as_mut(), timer).await {
            Either::Left((output, _)) => return output,
            Either::Right(_) => watch_all_once(),
        }
    }
}

fn watch_all_once() {
    let all: Vec<_> = lock(&ALL).iter().filter_map(Weak::upgrade).collect();
    for background in all {
        background.watch(|| false);
    }
}

/// A future, and the tasks that poll it.
struct Movable {
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    /// The task in the crate's own runtime polls it.
    is_moved: AtomicBool,
    /// The first runtime has dropped it.
    is_over: AtomicBool,
    /// Wakes the task in the first runtime. A task's waker stays the same.
    first_waker: OnceLock<Waker>,
    /// Wakes the task in the crate's own runtime.
    own_waker: Mutex<Option<Waker>>,
}

impl std::fmt::Debug for Movable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Movable")
            .field("is_moved", &self.is_moved)
            .finish_non_exhaustive()
    }
}

impl Movable {
    fn move_to(self: &Arc<Self>, stay: Stay) {
        self.is_moved.store(true, Ordering::Release);
        let runtime = stay.runtime().clone();
        runtime.spawn(OwnTask {
            movable: Arc::clone(self),
            _stay: stay,
        });
    }

    /// Polls the future, if the task still may. Ready if there is none any more.
    fn poll(&self, cx: &mut Context<'_>, may_poll: impl Fn(&Self) -> bool) -> Poll<()> {
        let mut future = lock(&self.future);
        let Some(polled) = future.as_mut() else {
            return Poll::Ready(());
        };
        // Under the lock: the future wakes the task that polls it last.
        if !may_poll(self) || polled.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let ended = future.take();
        drop(future);
        drop(ended);
        Poll::Ready(())
    }

    /// Drops the future, unless a thread polls it. Then that thread drops it.
    fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        let ended = match self.future.try_lock() {
            Ok(mut future) => future.take(),
            Err(TryLockError::Poisoned(future)) => future.into_inner().take(),
            Err(TryLockError::WouldBlock) => None,
        };
        // Its drop may run any code, so the lock is not held.
        drop(ended);
    }
}

/// The task in the first runtime.
struct FirstTask {
    movable: Arc<Movable>,
    background: Arc<Background>,
}

impl Future for FirstTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let movable = &self.movable;
        self.background.polls.fetch_add(1, Ordering::AcqRel);
        movable.first_waker.get_or_init(|| cx.waker().clone());
        movable.poll(cx, |it| !it.is_moved.load(Ordering::Acquire))
    }
}

impl Drop for FirstTask {
    fn drop(&mut self) {
        self.movable.end();
        let own = lock(&self.movable.own_waker).take();
        if let Some(own) = own {
            own.wake();
        }
    }
}

/// The task in the crate's own runtime.
struct OwnTask {
    movable: Arc<Movable>,
    _stay: Stay,
}

impl Future for OwnTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let movable = &self.movable;
        lock(&movable.own_waker).get_or_insert_with(|| cx.waker().clone());
        let polled = movable.poll(cx, |_| true);
        if movable.is_over.load(Ordering::Acquire) {
            movable.end();
            return Poll::Ready(());
        }
        polled
    }
}

impl Drop for OwnTask {
    fn drop(&mut self) {
        // Also if the future has panicked.
        self.movable.end();
        if let Some(first) = self.movable.first_waker.get() {
            first.wake_by_ref();
        }
    }
}

/// Adds an entry. A full list loses the entries of dropped values first.
fn push<T>(list: &mut Vec<Weak<T>>, entry: Weak<T>) {
    if list.len() == list.capacity() {
        list.retain(|other| other.strong_count() > 0);
    }
    list.push(entry);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
