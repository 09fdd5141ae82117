//! The thread on which a state lives that has no process of its own.
//!
//! Runs in the application, for tests of what calls a [`Managed`](crate::Managed). It is the task thread of a worker
//! without the worker: jobs run one after the other, and find the state in the thread's slot.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll};

use crate::call::Slot;
use crate::call::panic_capture;
use crate::call::unsendable::Unsendable;
use crate::error::{ErrorKind, JoinError};
use crate::task;
use crate::task::Call;

type ThreadJob = Box<dyn FnOnce() + Send>;

/// A handle on the thread, which ends with the last one.
#[derive(Clone)]
pub(super) struct StateThread {
    jobs: mpsc::Sender<ThreadJob>,
}

/// A call on the thread, which is submitted when it is first polled.
pub(super) struct ThreadCall<R> {
    thread: StateThread,
    job: Option<ThreadJob>,
    name: &'static str,
    slot: Arc<Slot<R>>,
    /// Set when the call is dropped: then it does not begin any more.
    is_dropped: Arc<AtomicBool>,
}

impl StateThread {
    /// Starts the thread.
    pub(super) fn start() -> std::io::Result<Self> {
        let (jobs, taken) = mpsc::channel::<ThreadJob>();
        let thread = std::thread::Builder::new().name("procession-state".to_owned());
        thread.spawn(move || {
            for job in taken {
                job();
            }
            task::drop_state();
        })?;
        Ok(Self { jobs })
    }

    pub(super) fn call<C: Call>(&self, arguments: C::Args) -> ThreadCall<C::Output> {
        let slot = Arc::new(Slot::new());
        let answer = Answer {
            slot: Arc::clone(&slot),
            name: C::name(),
        };
        let is_dropped = Arc::new(AtomicBool::new(false));
        let is_unwanted = Arc::clone(&is_dropped);
        let job = move || {
            if !is_unwanted.load(Ordering::Acquire) {
                answer.run(|| C::call(arguments));
            }
        };
        ThreadCall {
            thread: self.clone(),
            job: Some(Box::new(job)),
            name: C::name(),
            slot,
            is_dropped,
        }
    }
}

/// Who gives a call its outcome, also if the thread ends before.
struct Answer<R> {
    slot: Arc<Slot<R>>,
    name: &'static str,
}

impl<R> Answer<R> {
    fn run(self, call: impl FnOnce() -> R) {
        let outcome = catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
            // The state stays, as in a process: this notes that it is free again.
            let _ = task::is_state_spoiled();
            if let Some(unsendable) = payload.downcast_ref::<Unsendable>() {
                return JoinError::new(ErrorKind::Encode, self.name)
                    .because(unsendable.0.clone())
                    .after_start(true);
            }
            JoinError::new(ErrorKind::Panicked, self.name)
                .with_panic(panic_capture::report_of(payload))
                .after_start(true)
        });
        self.slot.set(outcome);
    }
}

impl<R> Drop for Answer<R> {
    fn drop(&mut self) {
        let error = JoinError::new(ErrorKind::Closed, self.name);
        self.slot.set(Err(
            error.because("the thread that held the state has ended")
        ));
    }
}

impl<R> Future for ThreadCall<R> {
    type Output = Result<R, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(job) = self.job.take() {
            // If the thread has ended, the job is dropped, which sets the outcome.
            let _ = self.thread.jobs.send(job);
        }
        self.slot.poll(cx)
    }
}

impl<R> Drop for ThreadCall<R> {
    fn drop(&mut self) {
        self.is_dropped.store(true, Ordering::Release);
    }
}

impl fmt::Debug for StateThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateThread").finish_non_exhaustive()
    }
}

impl<R> fmt::Debug for ThreadCall<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadCall")
            .field("task", &self.name)
            .finish_non_exhaustive()
    }
}
