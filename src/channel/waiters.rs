//! The tasks and threads of this process that wait at one end of a channel.
//!
//! Each of them registers a waker. News in the socket wakes all of them, and each looks for itself. A task that another
//! executor polls waits in the crate's own runtime ([`own_runtime`]), which is driven for that long. What must stay
//! true: a waiter that registers, and then looks, misses no news; no waker is woken or dropped under the lock of the
//! list. Never here: what the waiters look for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use slab::Slab;
use tokio::runtime::{Handle, Id};

use crate::own_runtime;
use crate::own_runtime::Stay;
use crate::sys::doorbell::Doorbell;
use crate::sys::reactor::Watched;

/// After this time, tasks look again for what no process rings for.
const RETRY_AFTER: Duration = Duration::from_millis(1);

/// All waiters of an end.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    list: Arc<WaitList>,
    /// The socket, registered with each runtime that a task waits in: a runtime that is not polled then delays its own
    /// tasks only.
    watched: Mutex<Vec<(Id, Watched)>>,
    /// Whether a blocked thread polls the socket.
    is_polled: AtomicBool,
    /// Wakes that thread. Made when the first thread blocks; `None` if there was no descriptor for it.
    thread_doorbell: OnceLock<Option<Arc<Doorbell>>>,
}

#[derive(Debug, Default)]
struct WaitList {
    wakers: Mutex<Slab<Option<Registered>>>,
    /// The runtimes in which a retry timer runs. In a runtime that is not polled it does not end.
    retrying: Mutex<Vec<Id>>,
}

/// A task or a thread that waits.
#[derive(Debug)]
struct Registered {
    waker: Waker,
    /// What keeps the crate's own runtime driven until the waker is woken, if the task waits there.
    stay: Option<Stay>,
    /// Which thread waits, if it is a thread (see [`this_thread`]).
    thread: Option<usize>,
}

/// One registration. Dropping it removes the waker from the list.
#[derive(Debug, Default)]
pub(crate) struct Waiter(Option<(Arc<WaitList>, usize)>);

/// The right of one blocked thread to poll the socket. Dropping it wakes all waiters, so that another thread polls.
pub(super) struct PollTurn<'a>(&'a Waiters);

impl Waiters {
    /// Has the next news wake the caller. A caller that looks after this, and not before, misses none.
    pub(super) fn register(&self, waiter: &mut Waiter, cx: &Context<'_>) {
        self.register_with(waiter, cx, None, None);
    }

    fn register_with(
        &self,
        waiter: &mut Waiter,
        cx: &Context<'_>,
        stay: Option<Stay>,
        thread: Option<usize>,
    ) {
        let mut wakers = self.list.wakers();
        let place = match &waiter.0 {
            Some((_, place)) => *place,
            None => {
                let place = wakers.insert(None);
                waiter.0 = Some((Arc::clone(&self.list), place));
                place
            }
        };
        let Some(waker) = wakers.get_mut(place) else {
            return;
        };
        let is_known = waker.as_ref().is_some_and(|known| {
            known.waker.will_wake(cx.waker()) && known.stay.is_some() >= stay.is_some()
        });
        if !is_known {
            let replaced = waker.replace(Registered {
                waker: cx.waker().clone(),
                stay,
                thread,
            });
            // Dropping a waker may end a task, which drops the task's waiters.
            drop(wakers);
            drop(replaced);
        }
    }

    /// Pending: the next news will wake the caller. Ready: there was news, so look again.
    pub(super) fn poll_news(
        &self,
        socket: BorrowedFd<'_>,
        waiter: &mut Waiter,
        cx: &Context<'_>,
    ) -> Poll<()> {
        let Some(runtime) = self.register_here(waiter, cx) else {
            return Poll::Pending;
        };
        match self.poll_socket(socket, &runtime) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => {
                self.list.wake_all();
                Poll::Ready(())
            }
            // No descriptor is left to register with. There may be one later.
            Err(_) => {
                self.retry_later(waiter, cx);
                Poll::Pending
            }
        }
    }

    /// Wakes the caller after a while, and at news: for what no process rings for.
    pub(super) fn retry_later(&self, waiter: &mut Waiter, cx: &Context<'_>) {
        let Some(runtime) = self.register_here(waiter, cx) else {
            return;
        };
        let id = runtime.id();
        let mut retrying = self.list.retrying();
        if !retrying.contains(&id) {
            retrying.push(id);
            drop(retrying);
            let timer = RetryTimer(Arc::clone(&self.list), id);
            runtime.spawn(async move {
                tokio::time::sleep(RETRY_AFTER).await;
                drop(timer);
            });
        }
    }

    /// Registers the caller; returns the runtime that it waits in. Without one, it is woken at once.
    fn register_here(&self, waiter: &mut Waiter, cx: &Context<'_>) -> Option<Handle> {
        if let Ok(runtime) = Handle::try_current() {
            self.register(waiter, cx);
            return Some(runtime);
        }
        // Another executor polls.
        let stay = own_runtime::stay().ok();
        let runtime = stay.as_ref().map(|stay| stay.runtime().clone());
        self.register_with(waiter, cx, stay, None);
        if runtime.is_none() {
            cx.waker().wake_by_ref();
        }
        runtime
    }

    /// Has the next news unpark this thread and ring the doorbell that is returned.
    pub(super) fn register_thread(&self, waiter: &mut Waiter) -> Option<Arc<Doorbell>> {
        let make = || Doorbell::new().ok().map(Arc::new);
        let doorbell = self.thread_doorbell.get_or_init(make);
        let thread = ThreadWaker {
            thread: std::thread::current(),
            doorbell: doorbell.clone(),
        };
        let waker = Waker::from(Arc::new(thread));
        let cx = Context::from_waker(&waker);
        self.register_with(waiter, &cx, None, Some(this_thread()));
        doorbell.clone()
    }

    /// Lets a blocked thread poll the socket, if no other thread does.
    pub(super) fn take_poll_turn(&self) -> Option<PollTurn<'_>> {
        let is_taken = self.is_polled.swap(true, Ordering::SeqCst);
        (!is_taken).then(|| PollTurn(self))
    }

    /// A waker of all waiters.
    pub(super) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.list))
    }

    /// Makes all waiters look again.
    pub(super) fn wake_all(&self) {
        self.list.wake_all();
    }

    fn poll_socket(&self, socket: BorrowedFd<'_>, runtime: &Handle) -> io::Result<Poll<()>> {
        let id = runtime.id();
        let all = self.waker();
        let mut cx = Context::from_waker(&all);
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if !watched.iter().any(|(other, _)| *other == id) {
            // A registration with a runtime that has ended is an error when it is polled.
            watched.retain(|(_, it)| !matches!(it.poll_edge(&mut cx), Poll::Ready(Err(_))));
            // Another executor may be polling.
            let _entered = runtime.enter();
            let here = Watched::new(socket.as_fd().try_clone_to_owned()?)?;
            watched.push((id, here));
        }
        let here = watched.iter().find(|(other, _)| *other == id);
        let polled = here.map_or(Poll::Pending, |(_, here)| here.poll_edge(&mut cx));
        match polled {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(news) => news.map(Poll::Ready),
        }
    }
}

impl WaitList {
    fn wakers(&self) -> MutexGuard<'_, Slab<Option<Registered>>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn retrying(&self) -> MutexGuard<'_, Vec<Id>> {
        self.retrying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all waiters but the calling thread: it is awake, and has looked. If it were woken, its next sleep would
    /// end at once.
    fn wake_all(&self) {
        let here = Some(this_thread());
        let all: Vec<_> = self
            .wakers()
            .iter_mut()
            .filter_map(|(_, waiter)| waiter.take_if(|waiter| waiter.thread != here))
            .collect();
        for Registered { waker, .. } in all {
            waker.wake();
        }
    }
}

impl Wake for WaitList {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some((list, place)) = self.0.take() {
            let waker = list.wakers().try_remove(place);
            // Not under the lock: dropping a waker may end a task, which drops the task's waiters.
            drop(waker);
        }
    }
}

impl Drop for PollTurn<'_> {
    fn drop(&mut self) {
        self.0.is_polled.store(false, Ordering::SeqCst);
        self.0.wake_all();
    }
}

/// A timer after which all waiters look again, also if the timer is dropped early.
struct RetryTimer(Arc<WaitList>, Id);

impl Drop for RetryTimer {
    fn drop(&mut self) {
        self.0.retrying().retain(|runtime| *runtime != self.1);
        self.0.wake_all();
    }
}

/// Wakes a blocked thread, whether it is parked or polls the socket.
struct ThreadWaker {
    thread: Thread,
    doorbell: Option<Arc<Doorbell>>,
}

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.thread.unpark();
        if let Some(doorbell) = &self.doorbell {
            doorbell.ring();
        }
    }
}

/// A number that no other living thread of this process has. Unlike `std::thread::current`, it is there while a thread
/// destroys its local values, which may be ends.
fn this_thread() -> usize {
    thread_local!(static PLACE: u8 = const { 0 });
    PLACE.with(|place| std::ptr::from_ref(place).addr())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    fn is_rung(doorbell: &Doorbell) -> bool {
        rustix::io::read(doorbell.as_fd(), &mut [0; 8]).is_ok()
    }

    #[test]
    fn blocked_thread_is_rung_for_by_others_alone() {
        let waiters = Waiters::default();
        for is_own in [true, false] {
            let mut waiter = Waiter::default();
            let doorbell = waiters.register_thread(&mut waiter).unwrap();
            match is_own {
                true => waiters.wake_all(),
                false => {
                    std::thread::scope(|scope| scope.spawn(|| waiters.wake_all()).join().unwrap());
                }
            }
            assert_eq!(is_rung(&doorbell), !is_own);
        }
    }
}
