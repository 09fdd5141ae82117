//! Handles of processes that are awaited in other runtimes than that of their spawn, which may not be driven.

#![allow(
    clippy::async_yields_async,
    reason = "the handles outlive the runtimes"
)]

use std::time::Duration;

use procession::{Process, StartMethod};
use tokio::runtime::{Builder, Runtime};

use crate::deadline::within;
use crate::executor::{assert_at_rest, block_on, block_on_thread};
use crate::leftovers::alone;

const BOTH_METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Exec];

fn current_thread() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

async fn on_thread(test: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(test).await.unwrap();
}

#[procession::test]
async fn process_of_an_undriven_runtime_is_started_and_reaped() {
    let test = "runtimes::process_of_an_undriven_runtime_is_started_and_reaped";
    alone(test, async {
        on_thread(|| {
            for method in BOTH_METHODS {
                let undriven = current_thread();
                let spawn = |n: u64| {
                    let builder = Process::builder().start_method(method);
                    undriven.block_on(async { builder.spawn(|n: u64| n + 1, n) })
                };
                let (one, two) = (spawn(1), spawn(2));
                let exited = two.exited();
                assert_eq!(block_on(one).unwrap(), 2);
                let status = current_thread().block_on(async { within(exited).await });
                assert!(status.unwrap().success());
                assert_eq!(block_on(two).unwrap(), 3);
            }
        })
        .await;
    })
    .await;
}

#[procession::test]
async fn waiting_for_a_process_elsewhere_uses_no_processor() {
    let test = "runtimes::waiting_for_a_process_elsewhere_uses_no_processor";
    alone(test, async {
        on_thread(|| {
            let undriven = current_thread();
            let sleep = || std::thread::sleep(Duration::from_secs(60));
            let handle = undriven.block_on(async { procession::spawn(sleep, ()) });
            let (abort, exited) = (handle.abort_handle(), handle.exited());
            let waiting = block_on_thread(handle);
            assert_at_rest();
            abort.abort();
            assert!(waiting.join().unwrap().unwrap_err().is_cancelled());
            assert!(!block_on(exited).unwrap().success());
        })
        .await;
    })
    .await;
}

/// The future that starts the fork server, and has its lock, is in a runtime that is not driven.
#[procession::test]
async fn start_in_an_undriven_runtime_holds_up_no_other() {
    let test = "runtimes::start_in_an_undriven_runtime_holds_up_no_other";
    alone(test, async {
        on_thread(|| {
            for polls in 0..40 {
                let undriven = current_thread();
                let handle = undriven.block_on(async {
                    let handle = procession::spawn(|| 1, ());
                    for _ in 0..polls {
                        tokio::task::yield_now().await;
                    }
                    handle
                });
                let other =
                    current_thread().block_on(async { within(procession::spawn(|| 2, ())).await });
                assert_eq!(other.unwrap(), 2);
                // It was taken over, or its runtime ends it.
                drop(undriven);
                match block_on(handle) {
                    Ok(value) => assert_eq!(value, 1),
                    Err(error) => assert!(error.is_closed(), "{error}"),
                }
            }
        })
        .await;
    })
    .await;
}
