//! Threads for what would block a runtime: starting programs, and encoding and decoding long values.
//!
//! Runs in the application, and in children that start processes of their own. The runtime's blocking threads are the
//! application's: all of them may wait for this crate.
//!
//! Must stay true: there are few threads, started when a job needs one, and gone when there was no job for a while. A
//! job runs in any case: if no thread can be started and there is none, on the thread that has it. A panic of a job
//! ends that job alone.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// How long a thread waits for another job.
const IDLE_FOR: Duration = Duration::from_secs(5);

/// The fewest threads there may be: a job of a user's code that waits must not hold up the others.
const FEWEST: usize = 4;

/// The most threads there may be, on a machine with as many processors.
const MOST: usize = 16;

type Job = Box<dyn FnOnce() + Send>;

/// The threads of a process, and the jobs that wait for one.
struct Threads {
    state: Mutex<ThreadState>,
    job_came: Condvar,
}

#[derive(Default)]
struct ThreadState {
    jobs: VecDeque<Job>,
    /// How many threads there are, and how many of them wait for a job.
    threads: usize,
    idle: usize,
    /// The process that has the threads. A fork of the application has none of them.
    pid: u32,
}

static HELPERS: Threads = Threads {
    state: Mutex::new(ThreadState {
        jobs: VecDeque::new(),
        threads: 0,
        idle: 0,
        pid: 0,
    }),
    job_came: Condvar::new(),
};

/// Runs `job` on a thread that may block, in the context of the current runtime.
///
/// Dropping the future does not stop the job.
///
/// # Errors
///
/// The job has panicked.
pub(crate) fn run<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Running<T> {
    let (done, outcome) = oneshot::channel();
    spawn(Handle::try_current().ok(), move || {
        // It fails only if the outcome is not wanted any more.
        let _ = done.send(job());
    });
    Running(outcome)
}

/// Runs `job` on a thread that may block, in the context of `runtime`.
pub(crate) fn spawn(runtime: Option<Handle>, job: impl FnOnce() + Send + 'static) {
    HELPERS.add(Box::new(move || {
        let _entered = runtime.as_ref().map(Handle::enter);
        job();
    }));
}

/// A job that runs, or waits for a thread. Resolves to what it returns.
#[derive(Debug)]
pub(crate) struct Running<T>(oneshot::Receiver<T>);

impl<T> Future for Running<T> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = Pin::new(&mut self.0).poll(cx);
        outcome.map_err(|_| io::Error::other("what ran on a thread of its own panicked"))
    }
}

impl Threads {
    fn add(&'static self, job: Job) {
        let mut state = self.lock();
        let pid = std::process::id();
        if state.pid != pid {
            *state = ThreadState {
                pid,
                ..ThreadState::default()
            };
        }
        state.jobs.push_back(job);
        if state.jobs.len() <= state.idle {
            drop(state);
            self.job_came.notify_one();
        } else if state.threads < most() {
            state.threads += 1;
            drop(state);
            self.start();
        }
    }

    /// Starts a thread, which was counted.
    fn start(&'static self) {
        let thread = std::thread::Builder::new().name("procession".to_owned());
        if thread.spawn(|| self.serve()).is_ok() {
            return;
        }
        let mut state = self.lock();
        state.threads -= 1;
        // The threads there are will come to the job.
        while state.threads == 0 {
            let Some(job) = state.jobs.pop_front() else {
                return;
            };
            drop(state);
            run_one(job);
            state = self.lock();
        }
    }

    /// Runs jobs until there is none for a while.
    fn serve(&self) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                run_one(job);
                state = self.lock();
                continue;
            }
            state.idle += 1;
            let waited = self.job_came.wait_timeout(state, IDLE_FOR);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if timeout.timed_out() && state.jobs.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, ThreadState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A panic drops the sender of the job's outcome, which tells the receiver.
fn run_one(job: Job) {
    let _ = catch_unwind(AssertUnwindSafe(job));
}

fn most() -> usize {
    let processors = std::thread::available_parallelism();
    processors
        .map_or(FEWEST, std::num::NonZero::get)
        .clamp(FEWEST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn jobs_run_beside_each_other_and_a_panic_ends_one() {
        let (tell, told) = std::sync::mpsc::channel();
        let waits = run(move || told.recv().unwrap());
        let panics = run(|| panic!("on purpose"));
        assert!(panics.await.is_err());
        assert_eq!(run(|| 5).await.unwrap(), 5);
        tell.send(7).unwrap();
        assert_eq!(waits.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn more_jobs_than_threads_all_run() {
        let jobs = (0..100_u32).map(|n| run(move || n));
        let all = futures::future::join_all(jobs).await;
        let sum: u32 = all.into_iter().map(Result::unwrap).sum();
        assert_eq!(sum, 99 * 100 / 2);
    }
}
