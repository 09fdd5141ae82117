//! Everybody in this process who waits for one socket.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::sys::reactor::Watched;

/// Wakes all who wait when the socket has news; each looks for itself.
#[derive(Debug, Default)]
pub(super) struct Hub {
    waiting: Arc<Waiting>,
    watched: Mutex<Option<Watched>>,
}

#[derive(Debug, Default)]
struct Waiting(Mutex<Vec<Waker>>);

impl Waiting {
    fn add(&self, waker: &Waker) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.iter().any(|other| other.will_wake(waker)) {
            all.push(waker.clone());
        }
    }

    fn wake_all(&self) {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
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

impl Hub {
    /// Pending: the caller will be woken at the next news. Ready: there was some, look again.
    pub(super) fn poll_news(
        &self,
        socket: BorrowedFd<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.waiting.add(cx.waker());
        let everybody = Waker::from(Arc::clone(&self.waiting));
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let here = match &mut *watched {
            Some(here) => here,
            none => none.insert(Watched::new(socket.as_fd().try_clone_to_owned()?)?),
        };
        match here.poll_edge(&mut Context::from_waker(&everybody)) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => {
                drop(watched);
                self.waiting.wake_all();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(_)) => {
                // The runtime it was registered with is gone; register with this one.
                *watched = None;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    /// Makes all who wait in this process look.
    pub(super) fn wake_all(&self) {
        self.waiting.wake_all();
    }
}
