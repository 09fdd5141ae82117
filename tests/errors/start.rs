//! Starts that fail or are interrupted, and crashes beside other processes.

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

/// Makes the file `path` and never returns.
pub(crate) fn leave_trace(path: PathBuf) {
    std::fs::write(path, "ran").unwrap();
    parked();
}

#[procession::test]
async fn crash_does_not_affect_other_processes() {
    alone("start::crash_does_not_affect_other_processes", async {
        let crash = |n: u32| match n % 2 == 0 {
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

/// `started() == false` promises that the function never ran.
#[procession::test]
async fn started_is_false_only_if_the_function_never_ran() {
    alone(
        "start::started_is_false_only_if_the_function_never_ran",
        async {
            let mut touched = 0;
            let mut pause = std::time::Duration::ZERO;
            // The pause grows until every kill comes after the start, so the kills hit every step of it.
            while touched < 20 {
                let trace = scratch("trace");
                let mut handle = quiet().spawn(leave_trace, trace.clone());
                while handle.pid().is_none() {
                    tokio::task::yield_now().await; // a timer would miss the first moments
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
        },
    )
    .await;
}

/// The dynamic linker ends the child before `main`.
#[cfg(target_env = "gnu")]
#[procession::test]
async fn child_that_exits_before_it_reports_is_a_spawn_error() {
    alone(
        "start::child_that_exits_before_it_reports_is_a_spawn_error",
        async {
            let mut handle = quiet()
                .env("LD_DEBUG", "help")
                .stdout(Stdio::null())
                .spawn(|| 1, ());
            let error = within(&mut handle).await.unwrap_err();
            let task = error.task().to_owned();
            let expected = expect(ErrorKind::Spawn).never_started().with_code(0);
            expected.check(&error, &task, handle.pid());
        },
    )
    .await;
}

/// A thread of the application waits for every child. The exit status is lost, the result is not.
#[procession::test]
async fn exit_status_taken_by_another_thread_costs_the_status_only() {
    alone(
        "start::exit_status_taken_by_another_thread_costs_the_status_only",
        async {
            let stop = Arc::new(AtomicBool::new(false));
            let other = std::thread::spawn({
                let stop = Arc::clone(&stop);
                move || {
                    while !stop.load(Ordering::Relaxed) {
                        // `NOHANG`: the fork server is a child too and does not end.
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
        },
    )
    .await;
}

#[test]
fn join_error_is_clone_send_and_sync() {
    fn anywhere<T: std::error::Error + Clone + Send + Sync + Unpin + 'static>() {}
    anywhere::<JoinError>();
    fn value<T: Copy + Eq + std::fmt::Debug + Send + Sync>() {}
    value::<ErrorKind>();
}
