//! Waits until a future, a thread or a process sleeps, so that the next step of a test finds it asleep.

#![allow(dead_code, reason = "no test file needs all of it")]

use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use rustix::process::Pid;

use crate::deadline::{until, within};

/// How many looks in a row must find a thread asleep: between two sleeps it could be seen once.
const QUIET_LOOKS: usize = 20;

/// Whether a waker was woken.
#[derive(Debug, Default)]
pub(crate) struct Woken(AtomicBool);

impl Woken {
    /// Whether it was woken since the last call.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Polls `future` until it does not wake itself any more and waits for an event. Returns the flag that the event sets.
#[track_caller]
pub(crate) fn asleep<F: Future + Unpin>(future: &mut F) -> impl Future<Output = Arc<Woken>> {
    let woken = Arc::<Woken>::default();
    let waker = Waker::from(Arc::clone(&woken));
    let polls = poll_fn(move |cx| {
        let polled = Pin::new(&mut *future).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending(), "the future is ready");
        if woken.take() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Arc::clone(&woken))
    });
    within(polls)
}

/// The state of a thread and its processor time, as `proc_pid_stat(5)` has them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Thread {
    state: String,
    user: String,
    system: String,
}

impl Thread {
    fn read(task: &Path) -> Self {
        let stat = std::fs::read_to_string(task.join("stat")).unwrap();
        // The name before the parenthesis may contain spaces.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let fields: Vec<_> = fields.split_whitespace().collect();
        let field = |n: usize| fields[n].to_owned();
        Self {
            state: field(0),
            user: field(11),
            system: field(12),
        }
    }
}

fn threads(pid: u32) -> Vec<Thread> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .map(|task| Thread::read(&task.unwrap().path()))
        .collect()
}

/// Waits until all threads of a process sleep.
#[track_caller]
pub(crate) fn process_asleep(pid: u32) -> impl Future<Output = ()> {
    threads_asleep(move || threads(pid))
}

/// Waits until these threads of this process sleep.
#[track_caller]
pub(crate) fn own_threads_asleep(threads: Vec<Pid>) -> impl Future<Output = ()> {
    let task = |tid: &Pid| format!("/proc/self/task/{}", tid.as_raw_nonzero());
    let tasks: Vec<_> = threads.iter().map(task).collect();
    threads_asleep(move || {
        let threads = tasks.iter().map(|task| Thread::read(Path::new(task)));
        threads.collect()
    })
}

/// Waits until all threads of a process are stopped: the signal reaches them one after the other.
#[track_caller]
pub(crate) fn process_stopped(pid: u32) -> impl Future<Output = ()> {
    until(move || threads(pid).iter().all(|thread| thread.state == "T"))
}

#[track_caller]
fn threads_asleep(look: impl Fn() -> Vec<Thread>) -> impl Future<Output = ()> {
    let mut quiet = 0;
    let mut before = look();
    until(move || {
        let now = look();
        let asleep = now.iter().all(|thread| thread.state == "S");
        quiet = if asleep && now == before {
            quiet + 1
        } else {
            0
        };
        before = now;
        quiet > QUIET_LOOKS
    })
}
