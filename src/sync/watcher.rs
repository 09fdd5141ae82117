//! A thread of this process that notices when other processes end.
//!
//! One thread serves all objects of the process. It sleeps until the kernel says that a process with one of them has
//! ended ([`CloseWatch`]). Then it has the requests served at all objects at which a party of this process waits. It
//! also does that a few times a second while a party waits: no notice tells that a process overwrites the memory. Where
//! the kernel gives no notices, it does so more often.
//!
//! The thread is started at the first wait, and ends when no handle is left at which a party has waited.

use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

use super::local_side::LocalSide;
use crate::sys::close_watch::{CloseWatch, WatchName};
use crate::sys::doorbell::Doorbell;
use crate::sys::fork_epoch;
use crate::sys::process_mark::PerProcess;

/// After this time, who waits makes sure that nothing was missed.
pub(super) const AUDIT_INTERVAL: Duration = Duration::from_millis(250);

/// The same, where the kernel gives no notices.
const INTERVAL_WITHOUT_NOTICES: Duration = Duration::from_millis(10);

/// After a notice, the thread checks at once, after this time, and after twice the time before, up to `AUDIT_INTERVAL`:
/// the kernel gives the notice a moment before the process counts as ended. No two checks are closer, so that a process
/// that causes notices without end does not keep this thread busy.
const FIRST_INTERVAL: Duration = Duration::from_millis(1);

static WATCHER: PerProcess<Watcher> = PerProcess::new(Watcher::default);

/// What the thread checks.
#[derive(Debug, Default)]
struct Watcher(Mutex<WatchedObjects>);

#[derive(Debug, Default)]
struct WatchedObjects {
    /// The process whose thread it is.
    epoch: u64,
    objects: Vec<WatchedObject>,
    /// What the thread sleeps on, if there is a thread.
    ears: Option<Arc<Ears>>,
    /// The thread sleeps until there is a notice or a ring.
    is_idle: bool,
}

#[derive(Debug)]
struct WatchedObject {
    name: Option<WatchName>,
    side: Weak<LocalSide>,
    sleepers: Arc<AtomicUsize>,
}

/// What the thread sleeps on. Without the doorbell it does not sleep for long.
#[derive(Debug)]
struct Ears {
    notices: Option<CloseWatch>,
    bell: Option<Doorbell>,
}

impl LocalSide {
    /// Notes that a party of this process sleeps, and has the death of others noticed.
    pub(super) fn begin_sleep(self: &Arc<Self>) {
        self.sleepers().fetch_add(1, Ordering::SeqCst);
        let epoch = fork_epoch::current();
        match self.watched_in.swap(epoch, Ordering::AcqRel) == epoch {
            true => wake(),
            false => attach(self),
        }
    }
}

/// Has `side` looked at when a process ends, while a party of this process waits at it.
fn attach(side: &Arc<LocalSide>) {
    side.when_gone.get_or_init(|| wake);
    WATCHER.get().attach(side);
}

/// A party waits at an object that was attached, or such an object is gone.
fn wake() {
    WATCHER.get().watched().wake();
}

impl Watcher {
    fn attach(&'static self, side: &Arc<LocalSide>) {
        let mut watched = self.watched();
        let ears = match &watched.ears {
            Some(ears) => Arc::clone(ears),
            None => Arc::new(Ears::new()),
        };
        watched.objects.push(WatchedObject {
            name: ears.watch(side),
            side: Arc::downgrade(side),
            sleepers: Arc::clone(side.sleepers()),
        });
        if watched.ears.is_none() {
            let thread = std::thread::Builder::new().name("procession-sync".to_owned());
            let heard = Arc::clone(&ears);
            // Without a thread, blocked threads check by themselves. The next object tries again.
            let is_started = thread.spawn(move || self.watch(&heard)).is_ok();
            watched.ears = is_started.then_some(ears);
        }
        watched.wake();
    }

    fn watched(&self) -> MutexGuard<'_, WatchedObjects> {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = fork_epoch::current();
        // A process that a fork server has forked has no such thread.
        if watched.epoch != epoch {
            *watched = WatchedObjects {
                epoch,
                ..WatchedObjects::default()
            };
        }
        watched
    }

    fn watch(&self, ears: &Ears) {
        let mut interval = FIRST_INTERVAL;
        loop {
            let waited_at = self.watched().waited_at();
            let Some(waited_at) = waited_at else {
                return;
            };
            for side in &waited_at {
                side.expect_own();
                side.serve(true);
                side.wake_own();
            }
            drop(waited_at);
            let time = self.watched().time_to_sleep(interval);
            interval = match ears.listen(time) {
                true => {
                    std::thread::sleep(FIRST_INTERVAL);
                    FIRST_INTERVAL
                }
                false => (2 * interval).min(AUDIT_INTERVAL),
            };
        }
    }
}

impl WatchedObjects {
    fn wake(&mut self) {
        if std::mem::replace(&mut self.is_idle, false) {
            if let Some(bell) = self.ears.as_ref().and_then(|ears| ears.bell.as_ref()) {
                bell.ring();
            }
        }
    }

    /// The objects at which a party of this process waits. `None` if no object is left, and the thread ends.
    fn waited_at(&mut self) -> Option<Vec<Arc<LocalSide>>> {
        let is_gone = |object: &WatchedObject| object.side.strong_count() == 0;
        let (gone, left): (Vec<_>, Vec<_>) = self.objects.drain(..).partition(is_gone);
        self.objects = left;
        self.is_idle = false;
        let has = |name| self.objects.iter().any(|other| other.name == Some(name));
        // The kernel names a memory once, also if it came to this process twice.
        let names = gone.into_iter().filter_map(|object| object.name);
        for name in names.filter(|name| !has(*name)) {
            if let Some(notices) = self.ears.as_ref().and_then(|ears| ears.notices.as_ref()) {
                notices.remove(name);
            }
        }
        if self.objects.is_empty() {
            self.ears = None;
            return None;
        }
        let waited_at = self.objects.iter().filter(|object| object.is_waited_at());
        // No side ends here: it would wake this thread, under the lock.
        Some(
            waited_at
                .filter_map(|object| object.side.upgrade())
                .collect(),
        )
    }

    /// How long the thread sleeps: for `interval` at most if a party waits, otherwise until it is woken.
    fn time_to_sleep(&mut self, interval: Duration) -> Option<Duration> {
        let has_news =
            |object: &WatchedObject| object.is_waited_at() || object.side.strong_count() == 0;
        let has_bell = self.ears.as_ref().is_some_and(|ears| ears.bell.is_some());
        self.is_idle = has_bell && !self.objects.iter().any(has_news);
        let has_all_notices = self.objects.iter().all(|object| object.name.is_some());
        let most = match has_all_notices {
            true => AUDIT_INTERVAL,
            false => INTERVAL_WITHOUT_NOTICES,
        };
        (!self.is_idle).then_some(interval.min(most))
    }
}

impl WatchedObject {
    fn is_waited_at(&self) -> bool {
        self.sleepers.load(Ordering::SeqCst) > 0
    }
}

impl Ears {
    fn new() -> Self {
        Self {
            notices: CloseWatch::new().ok(),
            bell: Doorbell::new().ok(),
        }
    }

    fn watch(&self, side: &LocalSide) -> Option<WatchName> {
        let notices = self.notices.as_ref()?;
        notices.add(side.memory.file().as_fd()).ok()
    }

    /// Sleeps for the time, or until there is a notice or a ring. True if there was a notice.
    fn listen(&self, time: Option<Duration>) -> bool {
        let bell = self.bell.as_ref();
        let bell = bell.map(|bell| PollFd::new(bell, PollFlags::IN));
        let notices = self.notices.as_ref();
        let notices = notices.map(|notices| PollFd::new(notices, PollFlags::IN));
        let mut polled: Vec<_> = notices.into_iter().chain(bell).collect();
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        if rustix::event::poll(&mut polled, time.as_ref()).is_err() {
            // Interrupted, or the user's code has closed the descriptors.
            std::thread::sleep(FIRST_INTERVAL);
        }
        if let Some(bell) = &self.bell {
            bell.clear();
        }
        let notices = self.notices.as_ref();
        notices.is_some_and(CloseWatch::take_notices)
    }
}
