//! A parent in a process of its own, and all that it starts.
//!
//! Everybody holds the pipe that is the parent's stdout, so its end is the end of them all; whoever gave that up is
//! found by a mark in the environment.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use procession::{ChildStdout, Process, ProcessHandle, Task};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;

use crate::deadline::{until_limit, within, within_limit};
use crate::leftovers::{Found, marked};
use crate::say;
use crate::tasks::parked;

/// How long an orphan may live.
const LIMIT: Duration = Duration::from_secs(2);

const FAMILY: &str = "PROCESSION_TEST_FAMILY";

/// A parent, and all that comes of it.
pub(crate) struct Family {
    pub(crate) parent: ProcessHandle<()>,
    pub(crate) stdout: ChildStdout,
    pub(crate) mark: String,
}

impl Family {
    pub(crate) fn found<F, M, A>(parent: F, args: A) -> Self
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

    /// Waits until somebody has said `count` words.
    pub(crate) async fn hear(&mut self, count: usize) {
        let mut lines = 0;
        while lines < count {
            let byte = within(self.stdout.read_u8()).await.unwrap();
            lines += usize::from(byte == b'\n');
        }
    }

    pub(crate) fn members(&self) -> Vec<Found> {
        marked(FAMILY, &self.mark)
    }

    /// Those that the parent has started.
    pub(crate) fn children(&self) -> Vec<Found> {
        let mut members = self.members();
        members.retain(|found| Some(found.parent) == self.parent.pid() && !found.is_fork_server());
        members
    }

    /// Kills the parent, it alone, and sees everybody go.
    pub(crate) async fn assert_it_ends_with_its_parent(self) {
        self.parent.signal(libc::SIGKILL);
        self.assert_it_ends(Some(libc::SIGKILL)).await;
    }

    pub(crate) async fn assert_it_ends(mut self, signal: Option<i32>) {
        use std::os::unix::process::ExitStatusExt as _;
        let status = within(self.parent.exited()).await.unwrap();
        assert_eq!(status.signal(), signal);
        let mut rest = Vec::new();
        let end = within_limit(LIMIT, self.stdout.read_to_end(&mut rest));
        let Ok(()) = end.await.map(drop) else {
            panic!("the parent's stdout could not be read");
        };
        until_limit(LIMIT, || self.members().is_empty()).await;
    }
}

/// What the child does when its parent is killed.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Doing {
    Nothing,
    /// Waiting in the runtime of an async function.
    Waiting,
    Computing,
    /// Waiting for programs of its own, one of which computes.
    Programs,
    /// Waiting for a child of its own kind, which computes.
    Nested,
    /// Ignoring whatever can be ignored.
    Deaf,
    /// Computing on many threads.
    Threads,
}

pub(crate) async fn child(doing: Doing) {
    match doing {
        Doing::Nothing => {
            say("here");
            parked();
        }
        Doing::Waiting => {
            say("here");
            std::future::pending::<()>().await;
        }
        Doing::Computing => {
            say("here");
            compute();
        }
        Doing::Programs => {
            let script = ["-c", "sleep 1000 & while :; do :; done"];
            let mut computing = Command::new("sh").args(script).spawn().unwrap();
            say("here");
            computing.wait().unwrap();
        }
        Doing::Nested => {
            let nested = procession::spawn(child, Doing::Computing);
            Box::pin(nested).await.unwrap();
        }
        Doing::Deaf => {
            use tokio::signal::unix::{SignalKind, signal};
            let mut ears = Vec::new();
            let kinds = [
                libc::SIGHUP,
                libc::SIGINT,
                libc::SIGTERM,
                libc::SIGUSR1,
                libc::SIGIO,
            ];
            for kind in kinds {
                ears.push(signal(SignalKind::from_raw(kind)).unwrap());
            }
            say("here");
            compute();
        }
        Doing::Threads => {
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

pub(crate) async fn parent(doing: Doing) {
    procession::spawn(child, doing).await.unwrap();
}

pub(crate) async fn check(doing: Doing) {
    let mut family = Family::found(parent, doing);
    family.hear(1).await;
    assert!(!family.children().is_empty());
    family.assert_it_ends_with_its_parent().await;
}
