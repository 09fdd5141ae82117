//! A program that forks, as a daemon does, after it has used the crate: the copy uses it, too, and the original goes
//! on.

#![allow(unsafe_code, reason = "`fork` has no other interface")]

#[path = "../deadline/mod.rs"]
mod deadline;
mod harness;
#[path = "../leftovers/mod.rs"]
mod leftovers;

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use procession::{ErrorKind, Pool, Process, StartMethod};
use tokio::runtime::Runtime;

const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Exec];

fn main() {
    match harness::role().as_deref() {
        Some("daemon") => daemon(),
        Some("copy") => copy(),
        Some("orphans") => orphans(),
        Some(other) => panic!("{other} is no role"),
        None => harness::test(|| {
            for role in ["daemon", "copy", "orphans"] {
                harness::run_in_role(role).assert_success();
            }
        }),
    }
}

/// Runs `body` in a copy of this process, which then exits. Returns its pid.
fn fork(body: impl FnOnce()) -> i32 {
    // SAFETY: the copy calls what a program may call that forks with threads: it leaves their locks alone.
    match unsafe { libc::fork() } {
        0 => {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            // SAFETY: ends the process.
            unsafe { libc::_exit(i32::from(done.is_err())) }
        }
        pid => pid,
    }
}

/// Waits for the copy, and asserts that it succeeded.
#[track_caller]
fn assert_success(pid: i32) {
    let mut status = 0;
    // SAFETY: stores an integer.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!((waited, status), (pid, 0), "the copy has failed");
}

fn runtime() -> Runtime {
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    built.expect("there are threads")
}

fn pid() -> u32 {
    std::process::id()
}

/// Starts processes and a pool in every way, and has them ended.
async fn use_everything() {
    let before = procession::active_children().len();
    for method in METHODS {
        for _ in 0..6 {
            let child = Process::builder().start_method(method).spawn(pid, ());
            assert_ne!(deadline::within(child).await.expect("it runs"), pid());
        }
        let pool = Pool::builder().workers(2).start_method(method);
        let pool = pool.build().expect("there is memory");
        let squares = deadline::within(pool.map(|n: u32| n * n, 0..50)).await;
        assert_eq!(squares.expect("they run")[7], 49);
        deadline::within(pool.shutdown()).await;
    }
    deadline::until(|| procession::active_children().len() == before).await;
}

/// The runtime has ended before the fork.
fn daemon() {
    procession::init();
    harness::record();
    runtime().block_on(use_everything());
    let copy = fork(|| runtime().block_on(use_everything()));
    runtime().block_on(use_everything());
    assert_success(copy);
}

/// The runtime lives on in the original.
fn copy() {
    procession::init();
    harness::record();
    let runtime = runtime();
    let pool = Pool::builder().workers(1);
    let pool = runtime.block_on(async { pool.build().expect("there is memory") });
    let worker = runtime.block_on(pool.run(pid, ())).expect("it runs");
    let entered = runtime.enter();
    let process = Process::builder().kill_on_drop(true).spawn(park, ());
    let mut task = Some(pool.spawn(park, ()));
    drop(entered);
    let started = async { deadline::until(|| process.pid().is_some()).await };
    runtime.block_on(started);
    let mut handle = Some(process);
    let spare_pool = pool.clone();
    let copy = fork(|| {
        let old = (handle.take(), task.take(), spare_pool);
        crate::runtime().block_on(async {
            refuses(
                &old.2,
                old.0.expect("it is there"),
                old.1.expect("it is there"),
            )
            .await;
            use_everything().await;
        });
    });
    assert_success(copy);
    let process = handle.take().expect("it is there");
    let task = task.take().expect("it is there");
    assert!(!process.is_finished() && !task.is_finished());
    task.abort();
    let aborted = runtime.block_on(deadline_of(task));
    assert_eq!(
        aborted.map_err(|error| error.kind()),
        Err(ErrorKind::Cancelled)
    );
    let replaced = runtime.block_on(deadline_of(pool.run(pid, ())));
    assert_ne!(replaced.expect("it runs"), worker);
    process.abort();
    let aborted = runtime.block_on(deadline_of(process));
    assert_eq!(
        aborted.map_err(|error| error.kind()),
        Err(ErrorKind::Cancelled)
    );
    runtime.block_on(use_everything());
}

async fn deadline_of<F: IntoFuture>(future: F) -> F::Output {
    deadline::within(future).await
}

fn park() {
    loop {
        std::thread::park();
    }
}

/// What the original has made is closed in the copy. Dropping it affects nothing.
async fn refuses(
    pool: &Pool,
    process: procession::ProcessHandle<()>,
    mut task: procession::TaskHandle<()>,
) {
    let kind = |error: procession::JoinError| error.kind();
    let closed = ErrorKind::Closed;
    let outcome = deadline::within(pool.run(pid, ())).await;
    assert_eq!(outcome.map_err(kind), Err(closed));
    let outcome = deadline::within(pool.map(|n: u32| n, 0..9)).await;
    assert_eq!(outcome.map_err(kind), Err(closed));
    let outcome = deadline::within(&mut task).await;
    assert_eq!(outcome.map_err(kind), Err(closed));
    assert!(deadline::within(process.exited()).await.is_err());
    process.terminate();
    process.abort();
    task.abort();
    assert!(pool.workers().is_empty());
    assert!(procession::active_children().is_empty());
    deadline::within(pool.terminate()).await;
}

/// The children of a process that has ended end, too, though its copy lives.
fn orphans() {
    procession::init();
    harness::record();
    let (mut told, mut tell) = UnixStream::pair().expect("there are descriptors");
    let original = fork(|| {
        let runtime = runtime();
        let pids = runtime.block_on(async {
            let pool = Pool::with_workers(1).expect("there is memory");
            let worker = deadline::within(pool.run(pid, ())).await.expect("it runs");
            let process = procession::spawn(park, ());
            deadline::until(|| process.pid().is_some()).await;
            let pids = [worker, process.pid().expect("it has started")];
            // Neither is dropped: the original ends with them.
            Box::leak(Box::new((pool, process)));
            pids
        });
        // A copy that outlives this process: it ends when the socket is shut down.
        let mut lives = tell.try_clone().expect("there are descriptors");
        fork(move || drop(lives.read(&mut [0])));
        for pid in pids {
            tell.write_all(&pid.to_ne_bytes()).expect("it is read");
        }
        Box::leak(Box::new(runtime));
    });
    let mut pids = [[0; 4]; 2];
    for pid in &mut pids {
        told.read_exact(pid).expect("they are told");
    }
    assert_success(original);
    let began = Instant::now();
    for pid in pids.map(u32::from_ne_bytes) {
        while !leftovers::processes::is_gone(pid) {
            assert!(began.elapsed() < Duration::from_secs(30), "{pid} lives on");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    told.shutdown(Shutdown::Both).expect("it is connected");
}
