//! Workers that are stopped when their application is killed, or a moment later, end all the same.
//!
//! The kernel continues a stopped process whose group is orphaned (`setpgid(2)`, "orphaned process group"). The test
//! adopts the workers and has their session, so their groups are not orphaned: nothing but the crate ends them.

use std::time::{Duration, Instant};

use procession::{Pool, Process, ProcessHandle, StartMethod};
use rustix::process::Signal;

use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::leftovers::processes::{
    ProcessInfo, all_processes, descendants, signal, signal_if_running,
};
use crate::notes::{Board, Notes};
use crate::tasks::{busy, pid};

const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Exec];

const WORKERS: usize = 3;

/// An application whose workers are idle but for one, and its fork server's number if it has one.
async fn application(method: String, notes: Notes) {
    let method = match method.as_str() {
        "exec" => StartMethod::Exec,
        _ => StartMethod::ForkServer,
    };
    let pool = Pool::builder().workers(WORKERS).start_method(method);
    let pool = pool.build().unwrap();
    for worker in pool.broadcast(pid, ()).await.unwrap() {
        notes.write("worker", worker);
    }
    drop(pool.spawn(busy, notes.clone()));
    std::future::pending::<()>().await;
}

struct Application {
    process: ProcessHandle<()>,
    workers: Vec<u32>,
    /// Its fork server, if it has one.
    fork_server: Vec<u32>,
}

impl Application {
    fn children(&self) -> Vec<u32> {
        [&self.workers[..], &self.fork_server].concat()
    }
}

async fn started(method: StartMethod, board: &Board) -> Application {
    let name = match method {
        StartMethod::Exec => "exec",
        _ => "fork",
    };
    // As an executed process, so that it has a fork server of its own, which ends with it.
    let process = Process::builder().start_method(StartMethod::Exec);
    let process = process.spawn(application, (name.to_owned(), board.notes()));
    board.lines("busy", 1).await;
    let workers = board.lines("worker", WORKERS).await;
    let workers = workers.iter().map(|it| it.parse().unwrap());
    let workers = workers.collect();
    let own = process.pid();
    let mut servers = all_processes();
    servers.retain(|it| Some(it.parent) == own && it.is_fork_server());
    Application {
        process,
        workers,
        fork_server: servers.iter().map(|it| it.pid).collect(),
    }
}

async fn kill(process: ProcessHandle<()>) {
    process.signal(libc::SIGKILL);
    assert!(within(process).await.unwrap_err().is_crashed());
}

/// Those of `pids` that have not ended. This process adopts and does not reap them, so their numbers stay theirs.
fn running(pids: &[u32]) -> Vec<ProcessInfo> {
    let mut found = all_processes();
    found.retain(|it| pids.contains(&it.pid) && !it.has_ended());
    found
}

async fn stop(pids: &[u32]) {
    for pid in pids {
        signal(*pid, Signal::STOP);
    }
    until(|| running(pids).iter().all(ProcessInfo::is_stopped)).await;
}

async fn assert_end(pids: &[u32], when: impl std::fmt::Debug) {
    let end = Instant::now() + crate::deadline::LIMIT;
    while !running(pids).is_empty() {
        let left = running(pids);
        assert!(Instant::now() < end, "{when:?}: left {left:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    until(|| {
        reap_adopted();
        descendants().is_empty()
    })
    .await;
}

/// Reaps what was adopted: nothing else does.
fn reap_adopted() {
    for ended in all_processes() {
        if ended.parent == std::process::id() && ended.has_ended() {
            let pid = rustix::process::Pid::from_raw(ended.pid as i32);
            rustix::process::waitpid(pid, rustix::process::WaitOptions::NOHANG).unwrap();
        }
    }
}

fn adopt() {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
}

#[procession::test]
async fn worker_stopped_when_its_application_is_killed_ends() {
    alone(
        "stopped_application_end::worker_stopped_when_its_application_is_killed_ends",
        async {
            adopt();
            for method in METHODS {
                let board = Board::new();
                let application = started(method, &board).await;
                let children = application.children();
                stop(&application.workers).await;
                kill(application.process).await;
                assert_end(&children, method).await;
            }
        },
    )
    .await;
}

/// The pause before the signal grows until the workers have ended by themselves.
#[procession::test]
async fn worker_stopped_after_its_application_was_killed_ends() {
    alone(
        "stopped_application_end::worker_stopped_after_its_application_was_killed_ends",
        async {
            adopt();
            for pause in (0..4_000).step_by(200).map(Duration::from_micros) {
                let board = Board::new();
                let application = started(StartMethod::ForkServer, &board).await;
                let children = application.children();
                application.process.signal(libc::SIGKILL);
                let end = Instant::now() + pause;
                while Instant::now() < end {
                    std::hint::spin_loop();
                }
                for worker in &application.workers {
                    signal_if_running(*worker, Signal::STOP);
                }
                let ended = within(application.process).await;
                assert!(ended.unwrap_err().is_crashed());
                assert_end(&children, pause).await;
            }
        },
    )
    .await;
}

/// The fork server does not stay either.
#[procession::test]
async fn fork_server_stopped_when_its_application_is_killed_ends() {
    alone(
        "stopped_application_end::fork_server_stopped_when_its_application_is_killed_ends",
        async {
            adopt();
            let board = Board::new();
            let application = started(StartMethod::ForkServer, &board).await;
            assert_eq!(application.fork_server.len(), 1);
            let children = application.children();
            stop(&children).await;
            kill(application.process).await;
            assert_end(&children, "all were stopped").await;
        },
    )
    .await;
}
