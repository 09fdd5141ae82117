//! Whether the function ran, and what a crash costs others.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use procession::{ErrorKind, JoinError};

use crate::deadline::within;
use crate::expected::expect;
use crate::leftovers::alone;
use crate::notes::scratch;
use crate::quiet;
use crate::tasks::parked;

pub(crate) fn leaves_a_trace(path: PathBuf) {
    std::fs::write(path, "ran").unwrap();
    parked();
}

/// A worker's death takes nobody else along.
#[procession::test]
async fn others_go_on_when_one_crashes() {
    alone("start::others_go_on_when_one_crashes", async {
        let crash = |n: u32| match n.is_multiple_of(2) {
            true => std::process::abort(),
            false => n,
        };
        let calls = (0..16).map(|n| quiet().spawn(crash, n));
        let outcomes = within(futures::future::join_all(calls)).await;
        for (n, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(value) => assert_eq!((value as usize, n % 2), (n, 1)),
                Err(error) => assert!(error.is_crashed() && n % 2 == 0, "{n}: {error}"),
            }
        }
    })
    .await;
}

/// `started() == false` is a promise: the function certainly never ran.
#[procession::test]
async fn what_did_not_start_left_no_trace() {
    alone("start::what_did_not_start_left_no_trace", async {
        let mut touched = 0;
        let mut pause = std::time::Duration::ZERO;
        // The pause grows until the kill comes too late every time, so every step of the start is hit.
        while touched < 20 {
            let trace = scratch("trace");
            let mut handle = quiet().spawn(leaves_a_trace, trace.clone());
            while handle.pid().is_none() {
                tokio::task::yield_now().await; // and not later than that
            }
            std::thread::sleep(pause);
            handle.signal(libc::SIGKILL);
            let error = within(&mut handle).await.unwrap_err();
            let ran = std::fs::remove_file(&trace).is_ok();
            assert!(error.started() || !ran, "it ran: {error:?}");
            assert_eq!(error.pid(), handle.pid());
            assert_eq!(
                (error.kind(), error.signal()),
                (ErrorKind::Crashed, Some(libc::SIGKILL))
            );
            touched += usize::from(ran);
            pause += std::time::Duration::from_micros(100);
        }
    })
    .await;
}

/// The dynamic linker ends the child before anything of ours runs in it.
#[cfg(target_env = "gnu")]
#[procession::test]
async fn a_child_that_never_arrives() {
    alone("start::a_child_that_never_arrives", async {
        let mut handle = quiet()
            .env("LD_DEBUG", "help")
            .stdout(Stdio::null())
            .spawn(|| 1, ());
        let error = within(&mut handle).await.unwrap_err();
        let task = error.task().to_owned();
        let expected = expect(ErrorKind::Spawn).never_started().with_code(0);
        expected.check(&error, &task, handle.pid());
    })
    .await;
}

/// Somebody else in the program waits for whichever child ends. It costs the status, and no more.
#[procession::test]
async fn another_takes_the_exit_status_away() {
    alone("start::another_takes_the_exit_status_away", async {
        let stop = Arc::new(AtomicBool::new(false));
        let other = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                while !stop.load(Ordering::Relaxed) {
                    // Without waiting: what forks children is a child that stays.
                    let _ = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
                    std::thread::yield_now();
                }
            }
        });
        for _ in 0..20 {
            assert_eq!(within(quiet().spawn(|| 1, ())).await.unwrap(), 1);
            let aborts = quiet().spawn(|| -> () { std::process::abort() }, ());
            let error = within(aborts).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.started()),
                (ErrorKind::Crashed, true),
                "{error:?}"
            );
        }
        stop.store(true, Ordering::Relaxed);
        other.join().unwrap();
    })
    .await;
}

#[test]
fn errors_go_anywhere() {
    fn anywhere<T: std::error::Error + Clone + Send + Sync + Unpin + 'static>() {}
    anywhere::<JoinError>();
    fn value<T: Copy + Eq + std::fmt::Debug + Send + Sync>() {}
    value::<ErrorKind>();
}
