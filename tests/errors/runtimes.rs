//! Runtimes that are missing, incomplete or paused, or that end early.

use procession::ErrorKind;

use crate::deadline::{self, within};
use crate::expected::expect;
use crate::leftovers::alone;
use crate::leftovers::processes::descendants;
use crate::notes::scratch;
use crate::quiet;
use crate::start::leave_trace;

#[test]
fn spawn_outside_a_runtime_is_a_spawn_error() {
    let handle = procession::spawn(|| 1, ());
    assert_eq!(handle.pid(), None);
    assert!(handle.is_finished());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let error = runtime.block_on(within(handle)).unwrap_err();
    let task = error.task().to_owned();
    expect(ErrorKind::Spawn)
        .without_process()
        .check(&error, &task, None);
    assert!(error.to_string().contains("runtime"), "{error}");
}

/// Runtimes without the drivers that the supervision of a process needs.
#[procession::test]
async fn spawn_in_a_runtime_without_drivers_works_or_is_a_spawn_error() {
    alone(
        "runtimes::spawn_in_a_runtime_without_drivers_works_or_is_a_spawn_error",
        async {
            let mut bare = tokio::runtime::Builder::new_current_thread();
            let mut only_io = tokio::runtime::Builder::new_current_thread();
            let mut only_time = tokio::runtime::Builder::new_current_thread();
            for runtime in [&mut bare, only_io.enable_io(), only_time.enable_time()] {
                let runtime = runtime.build().unwrap();
                let spawn = move || runtime.block_on(async { quiet().spawn(|| 1, ()).await });
                match std::thread::spawn(spawn).join().unwrap() {
                    Ok(value) => assert_eq!(value, 1),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Spawn, "{error}"),
                }
            }
        },
    )
    .await;
}

/// A paused clock advances whenever its runtime is idle. The limits of a start must not expire by that.
#[procession::test]
async fn spawn_works_in_a_runtime_whose_clock_is_paused() {
    let paused = tokio::task::spawn_blocking(|| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            for _ in 0..5 {
                assert_eq!(quiet().spawn(|| 1, ()).await.unwrap(), 1);
            }
        });
    });
    within(paused).await.unwrap();
}

/// The process ends with the runtime that supervises it.
#[procession::test]
async fn handle_that_outlives_its_runtime_is_closed() {
    alone(
        "runtimes::handle_that_outlives_its_runtime_is_closed",
        async {
            let path = scratch("started");
            let there = path.clone();
            #[allow(clippy::async_yields_async, reason = "the handle outlives the runtime")]
            let spawn_and_end = move || {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                runtime.block_on(async {
                    let handle = quiet().spawn(leave_trace, there.clone());
                    deadline::until(|| there.exists()).await;
                    handle
                })
            };
            let mut handle = std::thread::spawn(spawn_and_end).join().unwrap();
            let error = within(&mut handle).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
            assert!(error.started(), "it ran: {error:?}");
            assert!(within(handle.exited()).await.is_err());
            std::fs::remove_file(path).unwrap();
        },
    )
    .await;
}

#[procession::test]
async fn handle_is_closed_whenever_its_runtime_ends() {
    alone(
        "runtimes::handle_is_closed_whenever_its_runtime_ends",
        async {
            for n in 0..60 {
                let path = scratch("trace");
                let there = path.clone();
                #[allow(clippy::async_yields_async, reason = "the handle outlives the runtime")]
                let spawn_and_end = move || {
                    let runtime = tokio::runtime::Runtime::new().unwrap();
                    let handle = runtime.block_on(async { quiet().spawn(leave_trace, there) });
                    std::thread::sleep(std::time::Duration::from_micros(n * 120));
                    match n % 2 {
                        0 => drop(runtime),
                        _ => runtime.shutdown_background(),
                    }
                    handle
                };
                let mut handle = std::thread::spawn(spawn_and_end).join().unwrap();
                let error = within(&mut handle).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
                deadline::until(|| descendants().is_empty()).await;
                let ran = std::fs::remove_file(path).is_ok();
                assert!(error.started() || !ran, "it ran: {error:?}");
            }
        },
    )
    .await;
}
