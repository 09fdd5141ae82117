//! The doorbell of a worker, rung when the worker replies while the driver sleeps.
//!
//! Runs in the application, in the pool's driver. Each worker has a doorbell of its own: a process that fills its
//! counter silences itself and no other worker.
//!
//! Must stay true: a bell that is not noted as rung has a waker at the runtime. So a driver polls only the bells that
//! have rung, however many workers there are, and all of them once it is in another task.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};

use crate::sys::doorbell::Doorbell;
use crate::sys::reactor::Watched;

/// See the module.
pub(in crate::pool) struct WorkerBell {
    watched: Watched,
    note: Arc<Note>,
    /// That of the note.
    waker: Waker,
    /// Whether it has rung since this was last asked.
    has_rung: bool,
}

/// What a ring leaves.
struct Note {
    /// The bell must be polled.
    is_due: AtomicBool,
    driver: Waker,
}

impl Note {
    fn new(driver: &Waker) -> Arc<Self> {
        Arc::new(Self {
            is_due: AtomicBool::new(true),
            driver: driver.clone(),
        })
    }
}

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_due.store(true, Ordering::Release);
        self.driver.wake_by_ref();
    }
}

impl WorkerBell {
    /// Listens to `doorbell` in the current runtime.
    pub(in crate::pool) fn new(doorbell: Doorbell) -> io::Result<Self> {
        let note = Note::new(Waker::noop());
        Ok(Self {
            watched: Watched::new(doorbell.into())?,
            waker: Waker::from(Arc::clone(&note)),
            note,
            has_rung: false,
        })
    }

    /// Ready if it has rung since the last poll. Otherwise the next ring wakes the current task, which is the driver.
    ///
    /// # Errors
    ///
    /// The runtime is shutting down.
    #[inline]
    pub(in crate::pool) fn poll(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let is_known = self.note.driver.will_wake(cx.waker());
        if is_known && !self.note.is_due.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        if !is_known {
            self.note = Note::new(cx.waker());
            self.waker = Waker::from(Arc::clone(&self.note));
        }
        self.poll_due()
    }

    fn poll_due(&mut self) -> Poll<io::Result<()>> {
        // Before the poll: a ring from now on is noted again. What a ring did before it was noted is seen by the poll.
        self.note.is_due.swap(false, Ordering::AcqRel);
        let cx = &mut Context::from_waker(&self.waker);
        let rung = ready!(self.watched.poll_edge(cx));
        // That poll has left no waker.
        self.note.is_due.store(true, Ordering::Relaxed);
        self.has_rung = true;
        Poll::Ready(rung)
    }

    /// Whether it has rung since this was last asked.
    pub(in crate::pool) fn take_rung(&mut self) -> bool {
        std::mem::take(&mut self.has_rung)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn each_bell_wakes_the_driver_whatever_the_others_do() {
        let doorbells = [Doorbell::new().unwrap(), Doorbell::new().unwrap()];
        let bells = doorbells.each_ref().map(|it| it.try_clone().unwrap());
        let mut bells = bells.map(|it| WorkerBell::new(it).unwrap());
        let full = (u64::MAX - 1).to_ne_bytes();
        rustix::io::write(&doorbells[0], &full).unwrap();
        doorbells[0].ring();
        for rings in [0, 1, 1] {
            doorbells[rings].ring();
            let rung = poll_fn(|cx| {
                let polled = bells.each_mut().map(|bell| bell.poll(cx));
                match polled.iter().any(Poll::is_ready) {
                    true => Poll::Ready(polled.map(|it| it.is_ready())),
                    false => Poll::Pending,
                }
            });
            let rung = rung.await;
            assert!(rung[rings], "{rung:?}");
            assert!(bells[rings].take_rung() && !bells[rings].take_rung());
        }
    }

    #[tokio::test]
    async fn bell_wakes_the_task_that_polled_it_last() {
        let doorbell = Doorbell::new().unwrap();
        let mut bell = WorkerBell::new(doorbell.try_clone().unwrap()).unwrap();
        let first = &Context::from_waker(Waker::noop());
        while bell.poll(first).is_ready() {}
        let waiting = tokio::spawn(async move { poll_fn(|cx| bell.poll(cx)).await });
        tokio::task::yield_now().await;
        doorbell.ring();
        waiting.await.unwrap().unwrap();
    }
}
