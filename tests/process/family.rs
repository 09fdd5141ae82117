//! A parent in a process of its own, and all processes that it starts.
//!
//! All these processes have the parent's stdout open, a pipe, so its end of file means that all have ended.
//! Processes that have closed it are found by a mark in their environment.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use procession::{ChildStdout, Process, ProcessHandle, Task};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;

use crate::deadline::{until, within};
use crate::leftovers::processes::{ProcessInfo, marked};
use crate::say;
use crate::tasks::parked;

const FAMILY: &str = "PROCESSION_TEST_FAMILY";

/// A parent and all its descendants.
pub(crate) struct Family {
    pub(crate) parent: ProcessHandle<()>,
    stdout: ChildStdout,
    mark: String,
}

impl Family {
    pub(crate) fn start<F, M, A>(parent: F, args: A) -> Self
    where
        F: Task<M, A, Output = ()>,
    {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}-{number}", std::process::id());
        let mut parent = Process::builder()
            .env(FAMILY, &mark)
            .stdout(Stdio::piped())
            .spawn(parent, args);
        let stdout = parent.take_stdout().unwrap();
        Self {
            parent,
            stdout,
            mark,
        }
    }

    /// Waits until the processes of the family have written `count` lines.
    pub(crate) async fn wait_for_words(&mut self, count: usize) {
        let mut lines = 0;
        while lines < count {
            let byte = within(self.stdout.read_u8()).await.unwrap();
            lines += usize::from(byte == b'\n');
        }
    }

    fn members(&self) -> Vec<ProcessInfo> {
        marked(FAMILY, &self.mark)
    }

    /// The processes that the parent has started.
    pub(crate) fn children(&self) -> Vec<ProcessInfo> {
        let mut members = self.members();
        members.retain(|found| Some(found.parent) == self.parent.pid());
        members.retain(|found| !found.is_fork_server() && !found.is_spare());
        members
    }

    /// Kills the parent, and no other process, and asserts that all the others end.
    pub(crate) async fn assert_ends_after_kill(self) {
        self.parent.signal(libc::SIGKILL);
        self.assert_ends(Some(libc::SIGKILL)).await;
    }

    /// Asserts that the parent ends by `signal`, or by itself if it is `None`, and that all the others end.
    pub(crate) async fn assert_ends(mut self, signal: Option<i32>) {
        use std::os::unix::process::ExitStatusExt as _;
        let status = within(self.parent.exited()).await.unwrap();
        assert_eq!(status.signal(), signal);
        let mut rest = Vec::new();
        let end = within(self.stdout.read_to_end(&mut rest));
        let Ok(()) = end.await.map(drop) else {
            panic!("the parent's stdout could not be read");
        };
        until(|| self.members().is_empty()).await;
    }
}

/// What the child does when its parent is killed.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Activity {
    Nothing,
    /// Awaiting in an async function.
    Waiting,
    Computing,
    /// Waiting for a program that computes, with another program that sleeps.
    Programs,
    /// Awaiting a child that computes.
    Nested,
    /// Computing, with handlers that ignore the signals which can be handled.
    HandlingSignals,
    /// Computing on many threads.
    Threads,
    /// Another program in its place, which computes.
    Replaced,
}

pub(crate) async fn child(activity: Activity) {
    match activity {
        Activity::Nothing => {
            say("here");
            parked();
        }
        Activity::Waiting => {
            say("here");
            std::future::pending::<()>().await;
        }
        Activity::Computing => {
            say("here");
            compute();
        }
        Activity::Programs => {
            let script = ["-c", "sleep 1000 & while :; do :; done"];
            let mut computing = Command::new("sh").args(script).spawn().unwrap();
            say("here");
            computing.wait().unwrap();
        }
        Activity::Nested => {
            let nested = procession::spawn(child, Activity::Computing);
            Box::pin(nested).await.unwrap();
        }
        Activity::HandlingSignals => {
            use tokio::signal::unix::{SignalKind, signal};
            let mut handlers = Vec::new();
            let kinds = [
                libc::SIGHUP,
                libc::SIGINT,
                libc::SIGTERM,
                libc::SIGUSR1,
                libc::SIGIO,
            ];
            for kind in kinds {
                handlers.push(signal(SignalKind::from_raw(kind)).unwrap());
            }
            say("here");
            compute();
        }
        Activity::Replaced => {
            use std::os::unix::process::CommandExt as _;
            let script = ["-c", "echo here; while :; do :; done"];
            panic!("{}", Command::new("sh").args(script).exec());
        }
        Activity::Threads => {
            for _ in 0..4 {
                std::thread::spawn(compute);
            }
            say("here");
            compute();
        }
    }
}

fn compute() {
    let mut n = 0_u64;
    loop {
        n = std::hint::black_box(n.wrapping_mul(3).wrapping_add(1));
    }
}

pub(crate) async fn parent(activity: Activity) {
    procession::spawn(child, activity).await.unwrap();
}

pub(crate) async fn check(activity: Activity) {
    let mut family = Family::start(parent, activity);
    family.wait_for_words(1).await;
    assert!(!family.children().is_empty());
    family.assert_ends_after_kill().await;
}
