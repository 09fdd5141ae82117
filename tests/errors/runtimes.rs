//! Runtimes that are missing, incomplete, or end early.

use procession::ErrorKind;

use crate::deadline::{self, within};
use crate::expected::expect;
use crate::leftovers::{self, alone};
use crate::notes::scratch;
use crate::quiet;
use crate::start::leaves_a_trace;

#[test]
fn outside_a_runtime() {
    let handle = procession::spawn(|| 1, ());
    assert_eq!(handle.pid(), None);
    assert!(handle.is_finished());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let error = runtime.block_on(within(handle)).unwrap_err();
    let task = error.task().to_owned();
    expect(ErrorKind::Spawn)
        .nowhere()
        .check(&error, &task, None);
    assert!(error.to_string().contains("runtime"), "{error}");
}

/// Runtimes that lack what a process needs to be attended to.
#[procession::test]
async fn in_a_runtime_without_drivers() {
    alone("runtimes::in_a_runtime_without_drivers", async {
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
    })
    .await;
}

/// A paused clock jumps ahead whenever its runtime is idle. A start takes no longer for that.
#[procession::test]
async fn in_a_runtime_whose_clock_is_paused() {
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

/// A handle that survives the runtime which attended to its process is told so, and the process is
/// gone.
#[procession::test]
async fn the_runtime_ends_first() {
    alone("runtimes::the_runtime_ends_first", async {
        let path = scratch("started");
        let there = path.clone();
        #[allow(clippy::async_yields_async, reason = "it is the handle that survives")]
        let spawn_and_end = move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let handle = quiet().spawn(leaves_a_trace, there.clone());
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
    })
    .await;
}

#[procession::test]
async fn the_runtime_ends_at_any_moment() {
    alone("runtimes::the_runtime_ends_at_any_moment", async {
        for n in 0..60 {
            let path = scratch("trace");
            let there = path.clone();
            #[allow(clippy::async_yields_async, reason = "it is the handle that survives")]
            let spawn_and_end = move || {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                let handle = runtime.block_on(async { quiet().spawn(leaves_a_trace, there) });
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
            deadline::until(|| leftovers::descendants().is_empty()).await;
            let ran = std::fs::remove_file(path).is_ok();
            assert!(error.started() || !ran, "it ran: {error:?}");
        }
    })
    .await;
}
