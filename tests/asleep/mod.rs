//! Waits until a future, a thread or a process sleeps, so that the next step of a test finds it asleep.

#![allow(dead_code, reason = "no test file needs all of it")]

use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::deadline::{LIMIT, until, within};

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
    /// `None` if it has ended.
    fn read(task: &Path) -> Option<Self> {
        let stat = std::fs::read_to_string(task.join("stat")).ok()?;
        // The name before the parenthesis may contain spaces.
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<_> = fields.split_whitespace().collect();
        let field = |n: usize| fields[n].to_owned();
        Some(Self {
            state: field(0),
            user: field(11),
            system: field(12),
        })
    }
}

fn threads(pid: u32) -> Vec<Thread> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .filter_map(|task| Thread::read(&task.ok()?.path()))
        .collect()
}

/// Waits until all threads of a process sleep.
#[track_caller]
pub(crate) fn process_asleep(pid: u32) -> impl Future<Output = ()> {
    threads_asleep(move || threads(pid))
}

/// Blocks this thread until all threads of a process sleep.
pub(crate) fn wait_for_process(pid: u32) {
    wait_for_threads(|| threads(pid));
}

/// Blocks this thread until a thread of a process sleeps.
pub(crate) fn wait_for_thread(pid: u32, thread: u32) {
    let task = format!("/proc/{pid}/task/{thread}");
    wait_for_threads(|| Thread::read(Path::new(&task)).into_iter().collect());
}

fn wait_for_threads(look: impl Fn() -> Vec<Thread>) {
    let end = Instant::now() + LIMIT;
    let mut quiet = Quiet::new(look());
    while !quiet.holds_with(look()) {
        assert!(Instant::now() < end, "it does not sleep");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until these threads of this process sleep.
#[track_caller]
pub(crate) fn own_threads_asleep(threads: Vec<Pid>) -> impl Future<Output = ()> {
    let task = |tid: &Pid| format!("/proc/self/task/{}", tid.as_raw_nonzero());
    let tasks: Vec<_> = threads.iter().map(task).collect();
    threads_asleep(move || {
        let threads = tasks.iter();
        threads
            .filter_map(|task| Thread::read(Path::new(task)))
            .collect()
    })
}

/// Waits until all threads of a process are stopped: the signal reaches them one after the other.
#[track_caller]
pub(crate) fn process_stopped(pid: u32) -> impl Future<Output = ()> {
    until(move || threads(pid).iter().all(|thread| thread.state == "T"))
}

#[track_caller]
fn threads_asleep(look: impl Fn() -> Vec<Thread>) -> impl Future<Output = ()> {
    let mut quiet = Quiet::new(look());
    until(move || quiet.holds_with(look()))
}

/// For how many looks threads were asleep.
struct Quiet {
    looks: usize,
    before: Vec<Thread>,
}

impl Quiet {
    fn new(before: Vec<Thread>) -> Self {
        Self { looks: 0, before }
    }

    /// Whether they were asleep for long enough, with this look.
    fn holds_with(&mut self, now: Vec<Thread>) -> bool {
        let asleep = now.iter().all(|thread| thread.state == "S");
        self.looks = if asleep && now == self.before {
            self.looks + 1
        } else {
            0
        };
        self.before = now;
        self.looks > QUIET_LOOKS
    }
}
