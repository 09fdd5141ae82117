//! A program that takes its signals by a descriptor, and so blocks some of them in all its threads and ignores others:
//! its children begin with none blocked and none ignored.

#![allow(unsafe_code, reason = "signal masks have no other interface")]

#[path = "../deadline/mod.rs"]
mod deadline;
mod harness;
#[path = "../leftovers/mod.rs"]
mod leftovers;

use procession::{Process, StartMethod};

fn main() {
    match harness::role() {
        Some(_) => blocks(),
        None => harness::test(|| harness::run_in_role("blocks").assert_success()),
    }
}

fn blocks() {
    procession::init();
    harness::record();
    block_all();
    // SAFETY: `SIG_IGN` is not a pointer to a handler.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be built");
    runtime.block_on(async {
        for method in [StartMethod::ForkServer, StartMethod::Exec] {
            for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGUSR1] {
                let (tx, rx) = procession::channel::<()>().expect("there is memory");
                let builder = Process::builder().start_method(method);
                let process = builder.spawn(announce_and_park, tx);
                deadline::within(rx.recv()).await.expect("it runs");
                process.signal(signal);
                let error = deadline::within(process).await.expect_err("it was ended");
                assert_eq!(error.signal(), Some(signal), "{method:?}: {error}");
            }
        }
    });
}

fn announce_and_park(tx: procession::PipeSender<()>) {
    tx.blocking_send(()).expect("the parent listens");
    loop {
        std::thread::park();
    }
}

fn block_all() {
    // SAFETY: all-zero is a valid set of signals.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a local variable.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: both pointers are valid: one to a local variable, one null, which is allowed.
    let blocked =
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut()) };
    assert_eq!(blocked, 0);
}
