//! Everybody in this process who waits for one socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use slab::Slab;
use tokio::runtime::{Handle, Id};

use crate::sys::doorbell::Doorbell;
use crate::sys::reactor::Watched;

/// After this, who waits for something that nobody rings for looks again.
const NAP: Duration = Duration::from_millis(1);

/// Wakes all who wait when the socket has news; each looks for itself.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    waiting: Arc<Waiting>,
    /// The socket, registered with each runtime somebody waits in: one that stands still would tell the
    /// others nothing.
    watched: Mutex<Vec<(Id, Watched)>>,
    /// A blocked thread waits for the socket.
    is_listened_to: AtomicBool,
    /// Wakes that thread, once there was one; none if there was no descriptor for it.
    bell: OnceLock<Option<Arc<Doorbell>>>,
}

#[derive(Debug, Default)]
struct Waiting {
    seats: Mutex<Slab<Option<Waker>>>,
    /// In which runtimes a nap is under way: in one that stands still it does not end.
    napping: Mutex<Vec<Id>>,
}

/// A thread that is blocked here.
struct Blocked {
    thread: Thread,
    bell: Option<Arc<Doorbell>>,
}

impl Wake for Blocked {
    fn wake(self: Arc<Self>) {
        self.thread.unpark();
        if let Some(bell) = &self.bell {
            bell.ring();
        }
    }
}

/// Leave to listen to the socket for all who are blocked. Dropping it has them look, and one of them listens.
pub(super) struct Listens<'a>(&'a Waiters);

impl Drop for Listens<'_> {
    fn drop(&mut self) {
        self.0.is_listened_to.store(false, Ordering::SeqCst);
        self.0.wake_all();
    }
}

/// The place of one who waits. Dropping it ends the waiting.
#[derive(Debug, Default)]
pub(crate) struct Waiter(Option<(Arc<Waiting>, usize)>);

impl Waiting {
    fn seats(&self) -> MutexGuard<'_, Slab<Option<Waker>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn napping(&self) -> MutexGuard<'_, Vec<Id>> {
        self.napping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_all(&self) {
        let all: Vec<_> = self
            .seats()
            .iter_mut()
            .filter_map(|(_, waker)| waker.take())
            .collect();
        for waker in all {
            waker.wake();
        }
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some((waiting, place)) = self.0.take() {
            let waker = waiting.seats().try_remove(place);
            // Not under the lock: dropping one may end a task, and with it others' seats.
            drop(waker);
        }
    }
}

/// A nap that is under way. However it ends, those who wait for it look.
struct Nap(Arc<Waiting>, Id);

impl Drop for Nap {
    fn drop(&mut self) {
        self.0.napping().retain(|runtime| *runtime != self.1);
        self.0.wake_all();
    }
}

impl Waiters {
    /// Makes the next news wake the caller. Who looks after this, and not before, misses none.
    pub(super) fn sit(&self, seat: &mut Waiter, cx: &Context<'_>) {
        let mut seats = self.waiting.seats();
        let place = match &seat.0 {
            Some((_, place)) => *place,
            None => {
                let place = seats.insert(None);
                seat.0 = Some((Arc::clone(&self.waiting), place));
                place
            }
        };
        let Some(there) = seats.get_mut(place) else {
            return;
        };
        if !there
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            let other = there.replace(cx.waker().clone());
            // Dropping one may end a task, and with it others' seats.
            drop(seats);
            drop(other);
        }
    }

    /// Pending: the caller will be woken at the next news. Ready: there was some, look again.
    pub(super) fn poll_news(
        &self,
        socket: BorrowedFd<'_>,
        seat: &mut Waiter,
        cx: &Context<'_>,
    ) -> Poll<()> {
        self.sit(seat, cx);
        let Ok(runtime) = Handle::try_current() else {
            // Some other executor polls; there is nothing to register with.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        match self.poll_here(socket, runtime.id()) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => {
                self.waiting.wake_all();
                Poll::Ready(())
            }
            // No descriptor is left to register with. There may be one later.
            Err(_) => {
                self.nap(seat, cx);
                Poll::Pending
            }
        }
    }

    fn poll_here(&self, socket: BorrowedFd<'_>, runtime: Id) -> io::Result<Poll<()>> {
        let everybody = self.waker();
        let mut cx = Context::from_waker(&everybody);
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if !watched.iter().any(|(id, _)| *id == runtime) {
            // Those of runtimes that are gone say so.
            watched.retain(|(_, there)| !matches!(there.poll_edge(&mut cx), Poll::Ready(Err(_))));
            let here = Watched::new(socket.as_fd().try_clone_to_owned()?)?;
            watched.push((runtime, here));
        }
        let here = watched.iter().find(|(id, _)| *id == runtime);
        let polled = here.map_or(Poll::Pending, |(_, here)| here.poll_edge(&mut cx));
        match polled {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(news) => news.map(Poll::Ready),
        }
    }

    /// Wakes the caller in a while, and at news: for what nobody rings for.
    pub(super) fn nap(&self, seat: &mut Waiter, cx: &Context<'_>) {
        self.sit(seat, cx);
        let Ok(runtime) = Handle::try_current() else {
            cx.waker().wake_by_ref();
            return;
        };
        let id = runtime.id();
        let mut napping = self.waiting.napping();
        if !napping.contains(&id) {
            napping.push(id);
            drop(napping);
            let nap = Nap(Arc::clone(&self.waiting), id);
            runtime.spawn(async move {
                tokio::time::sleep(NAP).await;
                drop(nap);
            });
        }
    }

    /// Makes the next news unpark this thread, and ring the bell.
    pub(super) fn sit_blocked(&self, seat: &mut Waiter) -> Option<Arc<Doorbell>> {
        let bell = self.bell.get_or_init(|| Doorbell::new().ok().map(Arc::new));
        let blocked = Blocked {
            thread: std::thread::current(),
            bell: bell.clone(),
        };
        self.sit(seat, &Context::from_waker(&Arc::new(blocked).into()));
        bell.clone()
    }

    /// Lets a blocked thread listen to the socket, if no other does.
    pub(super) fn listen(&self) -> Option<Listens<'_>> {
        let taken = self.is_listened_to.swap(true, Ordering::SeqCst);
        (!taken).then(|| Listens(self))
    }

    /// Wakes all who wait in this process.
    pub(super) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.waiting))
    }

    /// Makes all who wait in this process look.
    pub(super) fn wake_all(&self) {
        self.waiting.wake_all();
    }
}
