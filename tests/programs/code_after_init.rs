//! The code after `procession::init()` runs in the program and never in its children.

#[path = "../deadline/mod.rs"]
mod deadline;
mod harness;
#[path = "../leftovers/mod.rs"]
mod leftovers;

use std::process::Stdio;

use procession::{ErrorKind, Process};

fn main() {
    procession::init();
    match harness::role() {
        Some(_) => program(),
        None => harness::test(|| harness::run_in_role("program").assert_success()),
    }
}

/// Starts children of every kind.
fn program() {
    harness::record();
    let threads = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let thread = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    for runtime in [threads, thread] {
        runtime.expect("a runtime can be built").block_on(async {
            returns().await;
            fails().await;
            has_streams().await;
        });
    }
}

async fn returns() {
    let sum = procession::spawn(|a: u32, b: u32| a + b, (1, 2));
    assert_eq!(deadline::within(sum).await.ok(), Some(3));
    let later = procession::spawn(async |n: u32| n, 4);
    assert_eq!(deadline::within(later).await.ok(), Some(4));
    let nothing = procession::spawn(|| (), ());
    assert_eq!(deadline::within(nothing).await.ok(), Some(()));
}

async fn fails() {
    let quiet = || Process::builder().stderr(Stdio::null());
    let panics = quiet().spawn(|| -> () { panic!("as it should") }, ());
    let aborts = quiet().spawn(|| -> () { std::process::abort() }, ());
    let exits = quiet().spawn(|| -> () { std::process::exit(0) }, ());
    let kinds = [ErrorKind::Panicked, ErrorKind::Crashed, ErrorKind::Exited];
    for (handle, kind) in [panics, aborts, exits].into_iter().zip(kinds) {
        let error = deadline::within(handle).await.expect_err("it fails");
        assert_eq!(error.kind(), kind, "{error}");
    }
    // The handler of `std` reports the stack overflow and aborts.
    let overflows = quiet().spawn(overflow, 0);
    let error = deadline::within(overflows).await.expect_err("it fails");
    assert_eq!(error.kind(), ErrorKind::Crashed, "{error}");
    assert_eq!(error.signal(), Some(libc::SIGABRT), "{error}");
    let crash = error.crash().expect("a crash has a report");
    assert!(crash.is_stack_overflow(), "{crash}");
    assert!(crash.backtrace().is_some_and(|it| it.contains("overflow")));
}

#[allow(unconditional_recursion, reason = "the test needs a stack overflow")]
fn overflow(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    overflow(depth + 1) + std::hint::black_box(frame)[1]
}

/// Children that are connected through each of the three descriptors, and children that need a helper process.
async fn has_streams() {
    let one = Process::builder().stdin(Stdio::null());
    let two = Process::builder()
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let three = Process::builder()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for builder in [one, two, three] {
        let number = builder.spawn(std::process::id, ());
        assert!(deadline::within(number).await.is_ok());
    }
}
